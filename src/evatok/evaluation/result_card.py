"""Results with all that makes them, and tables that hold only what may be compared."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from evatok.utils.tables import table

# Below a table with an asterisk in it.
BIASED = "* measured by a network that was in a loss of what is measured"
Task = Literal["generation", "prediction", "reconstruction"]


@dataclass(frozen=True)
class Network:
    """A frozen network that measures: its name, and the SHA-256 of the archive that its weights come out of."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Protocol:
    """What has to be the same for two numbers to stand in one column.

    Args:
        task: what was asked of the model.
        metric: what is measured.
        network: by which network; None where none is needed.
        real_split: what the real clips are, such as "UCF-101 training split".
        real_sha256: of the keys of the real clips, a line each, which say video, first frame and step.
        real_clips: their number.
        fake_clips: number of clips out of the model.
        frames: frames of a clip.
        frame_step: distance between the frames of a real clip, in frames of its video.
        fps: frames per second; None: those of each video.
        size: height and width at which clips leave the model.
        measured_size: height and width of the pixels that are measured.
        resize: the filters on the way to the network.
        given_frames: frames at the beginning that the model was given; both sides have the true ones.
        stored: how clips were compressed before they were measured.
    """

    task: Task
    metric: str
    network: Network | None
    real_split: str
    real_sha256: str
    real_clips: int
    fake_clips: int
    frames: int
    frame_step: int
    fps: float | None
    size: tuple[int, int]
    measured_size: tuple[int, int]
    resize: str
    given_frames: int = 0
    stored: str = "from tensors, nothing was stored"

    def differing(self, other: "Protocol") -> dict[str, tuple[Any, Any]]:
        """The entries that differ, with the value here and there."""
        ours, theirs = asdict(self), asdict(other)
        return {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]}


@dataclass(frozen=True)
class ResultCard:
    """Numbers of one metric, and what it takes to get them again.

    Args:
        protocol: what others' numbers must share.
        numbers: by name, such as "fvd"; one that does not exist is None.
        tokenizer: name and checksum.
        generator: name and checksum; None where the tokenizer alone is measured.
        tokens: mean tokens of a clip; None where it is not known.
        sampling: guidance, temperature, seed and so on; the assignment of a tokenizer.
        trained_by: networks in the losses of the tokenizer; None: not known.
        sources: configs of the sources of the real clips.
        command: the command line.
        date: when it was run, in UTC, as ISO 8601 has it.
        versions: of evatok and torch.
        commit: of evatok's sources; None outside a checkout.
    """

    protocol: Protocol
    numbers: dict[str, float | None]
    tokenizer: tuple[str, str]
    generator: tuple[str, str] | None
    tokens: float | None
    sampling: dict[str, Any]
    trained_by: tuple[str, ...] | None
    sources: list[dict[str, Any]]
    command: str
    date: str
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None

    @property
    def biased(self) -> bool:
        """Whether the network that measures was in a loss of what is measured."""
        network = self.protocol.network
        return network is not None and network.name in (self.trained_by or ())


def cards_table(rows: Sequence[tuple[str, Sequence[ResultCard]]], columns: Sequence[str]) -> str:
    """Numbers of several results, a row each, with the tokens of a clip; under it what the columns share.

    A number whose network was in a loss of what it measures has an asterisk.

    Args:
        rows: name of a result, and its cards.
        columns: names of numbers, such as "fvd" and "kvd".

    Raises:
        ValueError: a number is on none or several of a row's cards, or two of a column have different protocols.
    """
    shown, marked = [], False
    protocols: dict[str, tuple[str, Protocol]] = {}
    for name, cards in rows:
        cells = [name, "?" if cards[0].tokens is None else f"{cards[0].tokens:.0f}"]
        for column in columns:
            card = _card_with(column, name, cards)
            first, protocol = protocols.setdefault(column, (name, card.protocol))
            if differing := protocol.differing(card.protocol):
                said = "; ".join(f"{entry} {a} and {b}" for entry, (a, b) in differing.items())
                raise ValueError(f"{column} of {first} and of {name} cannot stand in one column: they differ in {said}")
            cells.append(number_cell(card, column))
            marked |= cells[-1].endswith("*")
        shown.append(cells)
    parts = [table(["", "tokens a clip", *columns], shown)]
    for protocol in dict.fromkeys(protocol for _, protocol in protocols.values()):
        alike = ", ".join(column for column in columns if protocols[column][1] == protocol)
        parts.append(f"{alike}: {protocol_line(protocol)}")
    parts += [BIASED] if marked else []
    return "\n\n".join(parts)


def number_cell(card: ResultCard, name: str) -> str:
    """A number of a card as tables have it: one that does not exist is a dash, one that is biased has an asterisk."""
    number = card.numbers[name]
    return "–" if number is None else f"{number:.4g}{'*' if card.biased else ''}"


def protocol_line(protocol: Protocol) -> str:
    """A protocol in one line, to print beside a number."""
    (h, w), (measured_h, measured_w) = protocol.size, protocol.measured_size
    network = f" by {protocol.network.name}" if protocol.network else ""
    given = f", the first {protocol.given_frames} given" if protocol.given_frames else ""
    fps = "each video's own rate" if protocol.fps is None else f"{protocol.fps:g} frames/s"
    return (
        f"{protocol.metric}{network}; {protocol.task}, {protocol.fake_clips} clips against {protocol.real_clips} of "
        f"{protocol.real_split} (keys {protocol.real_sha256[:8]}); {protocol.frames} frames{given}, "
        f"{protocol.frame_step} apart, {fps}; {h}x{w}, measured at {measured_h}x{measured_w}; {protocol.resize}; "
        f"{protocol.stored}"
    )


def _card_with(column: str, name: str, cards: Sequence[ResultCard]) -> ResultCard:
    found = [card for card in cards if column in card.numbers]
    if len(found) != 1:
        known = ", ".join(number for card in cards for number in card.numbers)
        raise ValueError(f"{name} has {len(found)} numbers called {column}; there are {known}")
    return found[0]
