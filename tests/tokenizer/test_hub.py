"""Loading from and saving to a hub, with the hub's client replaced by a folder."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from evatok.tokenizer.model import VideoTokenizer
from evatok.utils.saving import CheckpointError


class FolderHub:
    """As much of `huggingface_hub.HfApi` as is used, over a folder."""

    root: Path

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> str:
        (self.root / repository).mkdir(parents=True, exist_ok=exist_ok)
        return f"hub:{repository}:{'private' if private else 'public'}"

    def upload_folder(self, *, repo_id: str, folder_path: str) -> None:
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)


def test_pushed_and_loaded_by_its_id(mini: VideoTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FolderHub, "root", tmp_path, raising=False)
    monkeypatch.setattr("huggingface_hub.HfApi", FolderHub)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(tmp_path / name))
    assert mini.push_to_hub("someone/tokenizer", private=True) == "hub:someone/tokenizer:private"
    assert sorted(path.name for path in (tmp_path / "someone/tokenizer").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    loaded = VideoTokenizer.from_pretrained("someone/tokenizer")
    assert loaded.checksum == mini.checksum and loaded.name == "someone/tokenizer"


def test_what_is_asked_of_a_hub(mini: VideoTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini.save_pretrained(tmp_path / "deep/down")
    asked: list[dict[str, Any]] = []

    def download(name: str, **options: Any) -> str:
        asked.append({"name": name, **options})
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    loaded = VideoTokenizer.from_pretrained(
        "someone/thing", revision="v2", token="secret", subfolder="deep/down", dtype=torch.float16
    )
    assert loaded.checksum == mini.checksum and loaded.dtype == torch.float16
    assert loaded.name == "someone/thing/deep/down"
    files = ["deep/down/model.safetensors", "deep/down/config.json", "deep/down/router/*"]
    assert asked == [{"name": "someone/thing", "revision": "v2", "token": "secret", "allow_patterns": files}]


def test_a_hub_without_an_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise LocalEntryNotFoundError("cannot reach the hub\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(CheckpointError, match=r"someone/thing .* the hub gave nothing: cannot reach the hub$"):
        VideoTokenizer.from_pretrained("someone/thing")
