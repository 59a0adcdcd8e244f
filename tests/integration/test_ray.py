"""Searching and tokenizing by two Ray actors against this process; of the search, one actor is killed on the way."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from evatok.codec.token_parts import TokenizeConfig
from evatok.codec.tokenize import tokenize
from evatok.data.folders import FolderConfig
from evatok.stages.search.parts import SearchConfig
from evatok.stages.search.run import search
from evatok.tokenizer.model import VideoTokenizer

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray on this machine, for all tests: starting it takes longer than they do."""
    ray.init(include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


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


@pytest.mark.usefixtures("cluster")
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


@pytest.mark.usefixtures("cluster")
def test_two_actors_write_the_token_set_that_one_process_writes(
    tmp_path: Path, video_folder: Path, mini: VideoTokenizer
) -> None:
    mini.save_pretrained(tmp_path / "mini")
    config = TokenizeConfig([FolderConfig(str(video_folder))], str(tmp_path / "mini"), mirrored=True, part=1)
    tokenize(config, tmp_path / "local")
    assert len(tokenize(replace(config, runner="ray", actors=2), tmp_path / "ray")) == 4
    names = ["part-00000.parquet", "part-00001.parquet", "tokens.json"]
    assert sorted(path.name for path in (tmp_path / "ray").iterdir()) == names
    assert all((tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes() for name in names)
