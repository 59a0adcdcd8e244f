"""The benchmark of stage 4 on mini clips: variants see the same clips, and a second call trains nothing again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import stage4
from tests.runs import write_config
from tests.stages.parts import whole_config
from tests.stages.routers import mini_router


@pytest.fixture
def words(tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command line; I3D, which takes seconds, is replaced by the clips' first pixels."""
    mini_router().save_pretrained(tmp_path / "router")
    config = whole_config(tmp_path / "unused", video_folder, str(tmp_path / "router"), steps=4, checkpoint_every=4)
    clips = np.random.default_rng(0).integers(0, 256, (8, 16, 3, 32, 32), dtype=np.uint8)
    (tmp_path / "clips").mkdir()
    np.save(tmp_path / "clips" / "32x32.npy", clips)
    monkeypatch.setattr(stage4.I3D, "from_pretrained", lambda: None)
    monkeypatch.setattr(stage4, "fvd_features", lambda i3d, video: video.flatten(1)[:, :400].float())
    path = write_config(config, tmp_path / "final.yaml")
    return [f"--config={path}", f"--clips={tmp_path / 'clips'}", f"--folder={tmp_path / 'runs'}", "--held-out=3"]


def test_variants_are_trained_once_and_judged_alike(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Any] = []
    train = stage4.train

    def noted(task: Any, config: Any, resume: bool = False) -> Path:
        trained.append((config, list(task.trained), len(set(task.assign(task_video(task), generator()).lengths))))
        return train(task, config, resume)

    monkeypatch.setattr(stage4, "train", noted)
    names = ["all", "neither", stage4.RANDOM]
    record, sheet = tmp_path / "record.json", tmp_path / "sheet.png"
    for _ in range(2):
        monkeypatch.setattr(
            "sys.argv", ["stage4", *words, "--variants", *names, "--out", str(record), f"--sheet={sheet}"]
        )
        stage4.main()
    whole, neither, random = trained
    assert whole[1] == ["tokenizer", "alignment", "discriminator", "semantic"] and neither[1][1:] == ["discriminator"]
    assert random[1][1:] == ["alignment", "discriminator"] and random[2] == 1
    # A row of originals above one for each variant, in pictures of 96 pixels.
    assert Image.open(sheet).size[1] >= 4 * 96
    rows = json.loads(record.read_text())["rows"]
    assert [row["variant"] for row in rows] == names
    assert len({row["tokens"] for row in rows}) == 1 and len({row["LPIPS"] for row in rows}) == 3
    assert all(row["from"] <= row["FVD"] <= row["to"] for row in rows)


def test_others_are_judged_beside_them(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "record.json"
    more = ["--variants", "reconstruction alone", "--out", str(record)]
    monkeypatch.setattr("sys.argv", ["stage4", *words, *more])
    stage4.main()
    other = str(tmp_path / "runs" / "reconstruction-alone" / "final")
    monkeypatch.setattr("sys.argv", ["stage4", *words, *more, "--beside", other])
    stage4.main()
    rows = json.loads(record.read_text())["rows"]
    assert [row.pop("variant") for row in rows] == [other, "reconstruction alone"] and rows[0] == rows[1]
    # What a training starts from says what the model is.
    start = ["--init_from", other, "--model.levels=[8]", "--model.default_assignment=[8,8,8,8]"]
    monkeypatch.setattr("sys.argv", ["stage4", *words, *more, *start])
    stage4.main()
    again = json.loads(record.read_text())
    assert again["rows"][0] == {"variant": other, **rows[0]} and again["config"]["model"]["levels"] != [8]


def test_sharpness_falls_with_blur_and_moving_shows_what_is_fitted_to_a_place() -> None:
    video = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8, generator=generator())
    blurred = torch.nn.functional.avg_pool2d(video.flatten(0, 1).float(), 3, 1, 1).unflatten(0, (2, 4))
    assert (stage4._change(blurred) < stage4._change(video) / 2).all()
    torch.testing.assert_close(stage4._change(video // 2 * 2), 2 * stage4._change(video // 2))
    moved = stage4.moved(video)
    torch.testing.assert_close(moved[..., 2:, 2:], video[..., :-2, :-2].float() / 127.5 - 1)
    torch.testing.assert_close(moved[..., 0, 2:], video[..., 2, :-2].float() / 127.5 - 1)


def task_video(task: Any) -> torch.Tensor:
    return task.batches[0].video.float() / 127.5 - 1


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
