"""Videos and pictures, damaged, and turned into token files: what `evatok encode` does with them."""

import itertools
import struct
from pathlib import Path

from evatok.codec.files import encode_file
from evatok.tokenizer.lengths import LengthRequest
from evatok.tokens.tokens import Tokens
from tests.conftest import MINI, random_tokenizer
from tests.fuzzing import damage
from tests.fuzzing.damage import Rng
from tests.video.originals import ORIGINALS, PICTURES, originals

_MODEL = "model"


def prepare(folder: Path) -> None:
    """A model, pictures, and some videos."""
    random_tokenizer(MINI).save_pretrained(folder / _MODEL)
    originals(folder, PICTURES + ORIGINALS[::3])


def place(folder: Path, target: Path, kind: str, rng: Rng) -> None:
    """One of the files, damaged: half of them pictures."""
    names = [original.name for original in (PICTURES if rng.random() < 0.5 else ORIGINALS[::3])]
    name = damage.pick(names, rng)
    (target / name).write_bytes(KINDS[kind]((folder / name).read_bytes(), rng))


def use(folder: Path, target: Path) -> set[str]:
    """Encodes a file; what was written is read again."""
    path = next(target.iterdir())
    made = encode_file(path, target / "video.tokens", str(folder / _MODEL), LengthRequest())
    assert Tokens.load(target / "video.tokens") == made
    return {"video.tokens"}


def _other_size(data: bytes, rng: Rng) -> bytes:
    """A header that promises larger pictures than there are, or longer ones."""
    height, width = damage.pick([(2160, 3840), (8193, 8193), (65535, 65535), (1, 65535), (65535, 1)], rng)
    start, rest = data[:600], data[600:]
    for old, form in itertools.product(sorted({original.size for original in ORIGINALS}), (">II", "<II", ">HH", "<HH")):
        for order in (1, -1):
            start = start.replace(struct.pack(form, *old[::order]), struct.pack(form, *(height, width)[::order]))
    return start + rest


KINDS: dict[str, damage.Damage] = {
    "unchanged": damage.unchanged,
    **{change.__name__.replace("_", " "): change for change in damage.DAMAGES},
    "other size": _other_size,
}
