"""Discriminators and alignment in the training of a tokenizer."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from evatok.losses.adversarial import AdversarialConfig
from evatok.nn.transformer import TransformerConfig
from evatok.router.model import Router
from evatok.stages.final import FinalTask, train_final
from evatok.stages.proxy import ProxyTask
from evatok.tokenizer.model import VideoTokenizer
from evatok.training.checkpoints import checkpoints
from evatok.training.task import Item
from evatok.training.update import NotFinite
from tests.runs import mini_config
from tests.stages.parts import ALIGNMENT, PATCHES, SEMANTIC, whole_config
from tests.stages.routers import mini_router


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("router")
    mini_router().save_pretrained(folder)
    return str(folder)


def terms_of(task: Any, step: int) -> dict[str, set[str]]:
    """Names of the losses of each model in a step, with gradients as the loop takes them."""
    found = {}
    for name, losses in task.losses(step, Item(task.batches[0], 0)):
        found[name] = set(losses)
        if losses:
            torch.stack(list(losses.values())).sum().backward()
    return found


def test_each_part_joins_at_its_step(tmp_path: Path, video_folder: Path, router: str) -> None:
    task = FinalTask(whole_config(tmp_path, video_folder, router))
    assert list(task.trained) == ["tokenizer", "alignment", "discriminator", "semantic"]
    assert task.rehearsed == 3
    start, semantic, all_of_them = (terms_of(task, step) for step in (0, 1, 3))
    common = {"l1", "lpips", "alignment"}
    assert common <= start["tokenizer"] and not start["tokenizer"] & {"discriminator", "semantic"}
    assert start["alignment"] == {"similarity"} and start["discriminator"] == start["semantic"] == set()
    assert "semantic" in semantic["tokenizer"] and semantic["semantic"] == {"hinge", "lecam"}
    assert {"discriminator", "semantic"} <= all_of_them["tokenizer"]
    assert all_of_them["discriminator"] == {"hinge", "lecam"}


def test_without_its_entry_a_part_is_not_there(tmp_path: Path, video_folder: Path) -> None:
    task = ProxyTask(mini_config(tmp_path, video_folder))
    assert list(task.trained) == ["tokenizer"] and task.rehearsed is None
    task = ProxyTask(replace(mini_config(tmp_path, video_folder), alignment=ALIGNMENT))
    assert list(task.trained) == ["tokenizer", "alignment"]


def test_the_tokenizer_learns_from_every_part_and_a_discriminator_from_pixels_alone(
    tmp_path: Path, video_folder: Path, router: str
) -> None:
    task = FinalTask(whole_config(tmp_path, video_folder, router))
    networks = {name: trained.network for name, trained in task.trained.items()}
    # An untrained one has a head of 0, which passes nothing on.
    torch.nn.init.normal_(networks["discriminator"].head.weight)
    item = Item(task.batches[0], 0)
    parts: Iterator[tuple[str, dict[str, Tensor]]] = iter(task.losses(5, item))
    name, losses = next(parts)
    last = networks["tokenizer"].decoder.frames.linear.weight
    [gradient] = torch.autograd.grad(losses["semantic"], last, retain_graph=True)
    assert name == "tokenizer" and gradient.abs().sum() > 0
    [within] = torch.autograd.grad(losses["alignment"], networks["alignment"].depatchify.weight, retain_graph=True)
    torch.stack(list(losses.values())).sum().backward()
    before = last.grad.clone()
    del losses
    for name, losses in parts:
        for weight in networks[name].parameters():
            weight.grad = None
        torch.stack(list(losses.values())).sum().backward()
        assert all(weight.grad is not None for weight in networks[name].parameters()), name
        if name == "alignment":
            torch.testing.assert_close(networks[name].depatchify.weight.grad, within)
    assert torch.equal(last.grad, before)


def test_a_training_with_every_part_resumes_to_the_same_weights(
    tmp_path: Path, video_folder: Path, router: str
) -> None:
    config = whole_config(tmp_path / "run", video_folder, router, checkpoint_every=4)
    result = train_final(config)
    ends = [(result / "model.safetensors").read_bytes(), *_states(tmp_path / "run")]
    for path in checkpoints(tmp_path / "run" / "checkpoints")[1:]:
        rmtree(path)
    train_final(config, resume=True)
    assert [(result / "model.safetensors").read_bytes(), *_states(tmp_path / "run")] == ends
    last = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    with safe_open(last / "task.safetensors", "pt") as memory:
        assert {"discriminator.averages", "semantic.averages"} <= set(memory.keys())
        assert memory.get_tensor("discriminator.averages").any()
    with safe_open(last / "semantic.weights.safetensors", "pt") as weights:
        assert all(name.startswith("heads.") for name in weights.keys())  # noqa: SIM118
    VideoTokenizer.from_pretrained(result)


def _states(run: Path) -> list[bytes]:
    last = checkpoints(run / "checkpoints")[-1]
    return [path.read_bytes() for path in sorted(last.glob("*.safetensors"))]


def test_a_resume_takes_no_other_discriminator(tmp_path: Path, video_folder: Path, router: str) -> None:
    config = whole_config(tmp_path / "run", video_folder, router, steps=4, checkpoint_every=4)
    train_final(config)
    wider = replace(PATCHES.model, transformer=TransformerConfig(48, 1, 3))
    others: dict[str, dict[str, Any]] = {
        r"discriminator\.model\.transformer\.width: 32, now 48": {"discriminator": replace(PATCHES, model=wider)},
        r"semantic\.model\.hidden: 8, now 4": {"semantic": replace(SEMANTIC, model=replace(SEMANTIC.model, hidden=4))},
    }
    for said, changed in others.items():
        with pytest.raises(ValueError, match=f"cannot be resumed by this config, .* another {said}"):
            train_final(replace(config, **changed), resume=True)


@pytest.mark.parametrize("part", ["discriminator", "semantic"])
def test_a_discriminator_that_would_never_join_is_refused(
    part: str, tmp_path: Path, video_folder: Path, router: str
) -> None:
    config = whole_config(tmp_path, video_folder, router)
    late = replace(getattr(config, part), loss=AdversarialConfig(start=8))
    with pytest.raises(ValueError, match=rf"{part}\.loss\.start must be below the 8 of loop\.steps, got 8"):
        replace(config, **{part: late})


def test_a_discriminator_that_is_not_finite_is_named_and_reaches_nothing(
    tmp_path: Path, video_folder: Path, router: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = whole_config(tmp_path / "run", video_folder, router)
    hinge = "evatok.losses.adversarial.AdversarialLoss.discriminator"
    monkeypatch.setattr(hinge, lambda self, real, fake: {"hinge": real.mean() * torch.nan})
    with pytest.raises(NotFinite, match="at step 1 loss/semantic/hinge is nan"):
        train_final(config)


def test_what_a_discriminator_wants_changes_how_it_is_trained_not_what_is_saved(
    tmp_path: Path, video_folder: Path, router: str
) -> None:
    whole = whole_config(tmp_path / "whole", video_folder, router, steps=4, checkpoint_every=4)
    plain = replace(whole, folder=str(tmp_path / "plain"), discriminator=None, semantic=None, alignment=None)
    a, b = (VideoTokenizer.from_pretrained(train_final(config)) for config in (whole, plain))
    assert a.state_dict().keys() == b.state_dict().keys()
    assert not torch.equal(a.decoder.frames.linear.weight, b.decoder.frames.linear.weight)
    assert isinstance(a.router, Router)
