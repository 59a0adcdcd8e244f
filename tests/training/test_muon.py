"""Muon in float32 against torch's own, and against the orthogonal factor that both are after."""

import pytest
import torch

from evatok.training.muon import Float32Muon, orthogonalised
from evatok.training.optimizers import OptimizerConfig, build_optimizers

COEFFICIENTS = (3.4445, -4.775, 2.0315)


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix, COEFFICIENTS, 5, 1e-7)
    inner = u.T @ found @ v.T
    assert (inner - inner.diag().diag()).abs().max() < 1e-9
    # The smallest singular values take more than five iterations.
    assert inner.diag().max() < 1.25 and inner.diag().median() > 0.65


@pytest.mark.parametrize("shape", [(32, 32), (16, 64), (64, 16)])
def test_updates_are_torchs_up_to_bf16(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(shape, generator=generator)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimizers = [
        kind([weight], lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
        for kind, weight in ((Float32Muon, ours), (torch.optim.Muon, theirs))
    ]
    for _ in range(3):
        gradient = torch.randn(shape, generator=generator)
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    moved, apart = (theirs - start).norm(), (ours - theirs).norm()
    assert apart < 0.02 * moved
    states = [optimizer.state_dict()["state"][0]["momentum_buffer"] for optimizer in optimizers]
    torch.testing.assert_close(*states)


@pytest.mark.parametrize(("native", "kind"), [("bf16", torch.optim.Muon), ("no", Float32Muon)])
def test_a_machine_without_bf16_gets_float32(monkeypatch: pytest.MonkeyPatch, native: str, kind: type) -> None:
    monkeypatch.setattr("evatok.training.optimizers.native_precision", lambda: native)
    model = torch.nn.ModuleDict({"layers": torch.nn.ModuleList([torch.nn.Linear(16, 16)])})
    _, muon = build_optimizers(model, OptimizerConfig(kind="muon"))
    assert type(muon) is kind
