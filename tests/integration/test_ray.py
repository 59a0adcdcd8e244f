"""The search by two Ray actors, one of which is killed on the way, against the search in this process."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from evatok.data.folders import FolderConfig
from evatok.stages.search.parts import SearchConfig
from evatok.stages.search.run import search
from evatok.tokenizer.model import VideoTokenizer

pytest.importorskip("ray")


def kill_an_actor(folder: Path, killed: list[int]) -> None:
    """Kills one of this test's actors once the first part is there."""
    end = time.monotonic() + 120
    while not list(folder.glob("part-*.parquet")) and time.monotonic() < end:
        time.sleep(0.01)
    for process in psutil.Process().children(recursive=True):
        if "MapWorker" in process.name() or "MapWorker" in " ".join(process.cmdline()):
            process.kill()
            killed.append(len(list(folder.glob("part-*.parquet"))))
            return


def test_two_actors_find_what_one_process_finds(tmp_path: Path, video_folder: Path, mini: VideoTokenizer) -> None:
    mini.save_pretrained(tmp_path / "mini")
    config = SearchConfig(
        tokenizer=str(tmp_path / "mini"),
        sources=[FolderConfig(str(video_folder))],
        folder=str(tmp_path / "local"),
        clips=48,
        size=(32, 32),
        part=2,
    )
    expected = search(config)
    folder = tmp_path / "ray"
    killed: list[int] = []
    killer = threading.Thread(target=kill_an_actor, args=(folder, killed))
    killer.start()
    found = search(replace(config, folder=str(folder), runner="ray", actors=2))
    killer.join()
    assert killed and killed[0] < 24
    assert found.places == expected.places and found.keys == expected.keys
    torch.testing.assert_close(found.lpips, expected.lpips, rtol=0, atol=1e-4)
