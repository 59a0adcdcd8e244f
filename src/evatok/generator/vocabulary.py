"""What the numbers in a generator's sequences mean: codes, lengths of blocks, classes, no class, the end."""

from dataclasses import dataclass
from numbers import Integral

from evatok.tokens.records import TokenFormat


@dataclass(frozen=True)
class Vocabulary:
    """Token numbers of sequences: first the codes, as they are, then lengths, classes, the null class, the end.

    Args:
        codebook_size: number of codes.
        levels: tokens that a block may have, each of which has a length token.
        classes: names of the classes, each of which has a token; empty where videos have none.

    Raises:
        ValueError: two classes have one name.
    """

    codebook_size: int
    levels: tuple[int, ...]
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        object.__setattr__(self, "classes", tuple(self.classes))
        if len(set(self.classes)) < len(self.classes):
            twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
            raise ValueError(f"classes differ in name; {', '.join(twice)} came more than once")

    @classmethod
    def of(cls, form: TokenFormat, classes: tuple[str, ...] = ()) -> "Vocabulary":
        """That of a tokenizer's tokens."""
        return cls(form.codebook_size, form.levels, classes)

    @property
    def first_length(self) -> int:
        """The length token of the shortest level; the others follow in order."""
        return self.codebook_size

    @property
    def first_class(self) -> int:
        """The token of the first class; the others follow in order, then `null`."""
        return self.codebook_size + len(self.levels)

    @property
    def null(self) -> int:
        """The token of no class: of videos without one, and of classes dropped for guidance."""
        return self.first_class + len(self.classes)

    @property
    def end(self) -> int:
        """The token that ends every sequence, and fills up what is shorter than its neighbours."""
        return self.null + 1

    def __len__(self) -> int:
        return self.end + 1

    def length(self, level: int) -> int:
        """The token that announces a block of `level` codes. Raises ValueError for no level."""
        if level not in self.levels:
            raise ValueError(f"a block of {level} tokens has no length token; levels are {self.levels}")
        return self.first_length + self.levels.index(level)

    def label(self, name: str | int | None) -> int:
        """The token of a class, by its name or number; None or -1: the null class. ValueError for an unknown one."""
        if name is None or name == -1:
            return self.null
        number = self.classes.index(name) if name in self.classes else name
        if not isinstance(number, Integral) or not 0 <= number < len(self.classes):
            some = f"{', '.join(self.classes[:5])} and so on" if len(self.classes) > 5 else ", ".join(self.classes)
            raise ValueError(f"class {name!r} is none of the {len(self.classes)}: {some or 'there are none'}")
        return self.first_class + int(number)
