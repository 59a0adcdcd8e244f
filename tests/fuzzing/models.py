"""Saved models, damaged: configs and weights; loaded, and used where that works."""

import json
import shutil
from pathlib import Path

import torch

from evatok.nn.transformer import TransformerConfig
from evatok.router.config import RouterConfig
from evatok.router.model import Router
from evatok.tokenizer.model import VideoTokenizer
from tests.conftest import IN_PASSES, MINI, random_tokenizer
from tests.fuzzing import damage, weights
from tests.fuzzing.damage import Rng

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_SHAPE = (1, 5, 3, 32, 32)


def prepare(folder: Path) -> None:
    """Two tokenizers, one of which has a router, and a router alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small = TransformerConfig(32, 1, 2)
        router = Router(RouterConfig(MINI.levels, MINI.blocks, MINI.patch, transformer=small)).eval()
    random_tokenizer(MINI).save_pretrained(folder / "paper")
    random_tokenizer(IN_PASSES).set_router(router).save_pretrained(folder / "passes")
    router.save_pretrained(folder / "router")


def place(folder: Path, target: Path, kind: str, rng: Rng) -> None:
    """One of the models with a damaged file."""
    name = damage.pick(["paper", "passes", "router"], rng)
    shutil.copytree(folder / name, target / name)
    file, change = KINDS[kind]
    path = damage.pick(sorted((target / name).rglob(file)), rng)
    path.write_bytes(change(path.read_bytes(), rng))


def use(folder: Path, target: Path) -> set[str]:
    """Loads a model; if that works, uses it."""
    video = torch.arange(torch.Size(_SHAPE).numel()).remainder(251).to(torch.uint8).view(_SHAPE)
    path = next(target.iterdir())
    if path.name == "router":
        assert len(Router.from_pretrained(path).table(video[:, :1])) == 1
        return set()
    model = VideoTokenizer.from_pretrained(path)
    tokens = model.encode(video, model.config.default_assignment)
    assert model.decode(tokens).shape == _SHAPE
    return set()


def _documents(change: damage.Change, within: bool = True) -> tuple[str, damage.Damage]:
    """Changes of the document of a model's config, or of the config within it."""

    def change_config(data: bytes, rng: Rng) -> bytes:
        document = json.loads(data)
        return damage.json_text(
            document | {"config": change(document["config"], rng)} if within else change(document, rng)
        )

    return _CONFIG, change_config


KINDS: dict[str, tuple[str, damage.Damage]] = {
    "unchanged": (_CONFIG, damage.unchanged),
    "config: bytes": (_CONFIG, damage.damaged),
    "config: the whole replaced": _documents(damage.replaced, within=False),
    **{f"config: {name}": _documents(change) for name, change in damage.CHANGES.items()},
    **{f"weights: {name}": (_WEIGHTS, change) for name, change in weights.KINDS.items()},
}
