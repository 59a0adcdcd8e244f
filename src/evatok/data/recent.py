"""What was used last, kept in memory up to a number of bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What says how many bytes it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes."""
        ...


KeyT = TypeVar("KeyT", bound=Hashable)
ThingT = TypeVar("ThingT", bound=Sized)


class Recent(Generic[KeyT, ThingT]):
    """Things by their keys, made when asked for; the least recently used go first, the last one stays in any case.

    Args:
        make: makes the thing of a key.
        limit: bytes that are kept.
    """

    def __init__(self, make: Callable[[KeyT], ThingT], limit: int) -> None:
        self._make, self._limit = make, limit
        self._kept: OrderedDict[KeyT, ThingT] = OrderedDict()
        self.bytes = 0

    def __getitem__(self, key: KeyT) -> ThingT:
        """The thing; raises what making it raises."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        thing = self._kept[key] = self._make(key)
        self.bytes += thing.nbytes
        while self.bytes > self._limit and len(self._kept) > 1:
            self.bytes -= self._kept.popitem(last=False)[1].nbytes
        return thing
