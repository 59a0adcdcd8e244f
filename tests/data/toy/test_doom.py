"""Walks through Doom's rooms: what they are a function of, and that they are walks."""

import hashlib
import os
import pickle
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evatok.data.sources import open_source, source_config
from evatok.data.toy.doom import LEFT_OUT, MAPS, SCENARIOS, DoomConfig, DoomSource

vizdoom = pytest.importorskip("vizdoom")

GAMES = ("freedoom1", "freedoom2")


def two_scenarios(frames: int = 20) -> DoomSource:
    return DoomSource(DoomConfig(["my_way_home", "health_gathering"], seeds=(3, 5), frames=frames))


def test_scenarios_are_classes_and_episodes_videos() -> None:
    source = two_scenarios()
    entries = [source.describe(index) for index in range(len(source))]
    assert source.name == "doom"
    assert source.classes == ("my_way_home", "health_gathering")
    assert [(entry.key, entry.label) for entry in entries] == [
        ("my_way_home/3", 0),
        ("my_way_home/4", 0),
        ("health_gathering/3", 1),
        ("health_gathering/4", 1),
    ]
    assert all(entry.frames == 20 and entry.size == (120, 160) for entry in entries) and source.fps == 17.5
    assert source.identities(2) == ("doom:health_gathering/3",)


def test_an_episode_is_a_function_of_scenario_and_seed() -> None:
    source, again = two_scenarios(), two_scenarios()
    whole = source.read(3, 0, 20, 1)
    assert whole.shape == (20, 3, 120, 160) and whole.dtype == torch.uint8
    again.read(2, 0, 1, 1)
    assert torch.equal(again.read(3, 0, 20, 1), whole)
    assert torch.equal(source.read(3, 5, 5, 3), whole[5:20:3])
    assert torch.equal(source.read(3, 19, 1, 1), whole[19:])
    assert not torch.equal(source.read(2, 0, 20, 1), whole)
    with pytest.raises(ValueError, match="health_gathering/4 has 20 frames"):
        source.read(3, 16, 5, 1)


def test_an_episode_is_the_same_in_other_processes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    code = (
        "import hashlib; from evatok.data.toy.doom import DoomConfig, DoomSource; "
        "frames = DoomSource(DoomConfig(['freedoom1-E1M1'], frames=20)).read(1, 0, 20, 1); "
        "print(hashlib.sha256(frames.numpy().tobytes()).hexdigest())"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    here = DoomSource(DoomConfig(["freedoom1-E1M1"], frames=20)).read(1, 0, 20, 1)
    digest = hashlib.sha256(here.numpy().tobytes()).hexdigest()
    assert [run.communicate()[0].strip() for run in runs] == [digest, digest]
    assert list(tmp_path.iterdir()) == []


def test_colours_are_those_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's own RGB of the same walk."""
    frames = two_scenarios().read(0, 0, 20, 1)
    shown: list[np.ndarray[Any, Any]] = []

    class Coloured(vizdoom.DoomGame):  # type: ignore[name-defined]
        def set_screen_format(self, _: Any) -> None:
            super().set_screen_format(vizdoom.ScreenFormat.RGB24)

        def get_state(self) -> Any:
            state = super().get_state()
            shown.append(state.screen_buffer.copy())
            return Indices(state)

    class Indices:
        def __init__(self, state: Any) -> None:
            self.screen_buffer = state.screen_buffer[..., 0]
            self.depth_buffer, self.game_variables = state.depth_buffer, state.game_variables

    monkeypatch.setattr(vizdoom, "DoomGame", Coloured)
    two_scenarios().read(0, 0, 20, 1)
    assert len(shown) > 40
    assert np.array_equal(frames.permute(0, 2, 3, 1).numpy(), np.stack(shown[-40::2]))


def test_the_camera_moves_and_the_view_is_not_one_wall() -> None:
    frames = DoomSource(DoomConfig(["freedoom2-MAP01"], frames=80)).read(0, 0, 80, 1).float()
    changes = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3))
    assert (changes > 1).float().mean() > 0.8
    far_apart = (frames[::20, None] - frames[None, ::20]).abs().mean((2, 3, 4))
    assert far_apart[~torch.eye(4, dtype=torch.bool)].min() > 5


def test_a_walk_goes_on_when_an_episode_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    class ShortLived(vizdoom.DoomGame):  # type: ignore[name-defined]
        def set_episode_timeout(self, _: int) -> None:
            super().set_episode_timeout(30)

        def new_episode(self) -> None:
            begun.append(1)
            super().new_episode()

    monkeypatch.setattr(vizdoom, "DoomGame", ShortLived)
    assert two_scenarios(frames=40).read(0, 0, 40, 1).shape[0] == 40
    assert len(begun) >= 2


def test_episodes_are_kept_up_to_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[int] = []
    play = DoomSource.play

    def counted(self: DoomSource, name: str, seed: int, frames: int) -> Any:
        played.append(seed)
        return play(self, name, seed, frames)

    monkeypatch.setattr(DoomSource, "play", counted)
    monkeypatch.setattr("evatok.data.toy.episodes.CACHE_BYTES", 1)
    source = two_scenarios(frames=2)
    for index in (0, 0, 1, 0):
        source.read(index, 0, 1, 1)
    assert played == [3, 4, 3]


def test_all_scenarios_are_many_and_those_without_a_map_reported(caplog: pytest.LogCaptureFixture) -> None:
    source = DoomSource(DoomConfig("all", seeds=(0, 1)))
    assert len(source.classes) == 15 + 36 + 32
    assert {"my_way_home", "freedoom1-E4M9", "freedoom2-MAP32"} <= set(source.classes)
    assert "'doom': 'it needs doom.wad, which is not free'" in caplog.text
    assert not set(LEFT_OUT) & set(source.classes)


def test_every_scenario_of_the_package_is_known() -> None:
    folder = Path(vizdoom.__file__).parent
    assert {path.stem for path in (folder / "scenarios").glob("*.cfg")} == {*SCENARIOS, *LEFT_OUT, *GAMES}
    for game in GAMES:
        content = (folder / f"{game}.wad").read_bytes()
        lumps, directory = struct.unpack_from("<ii", content, 4)
        names = [name.rstrip(b"\0").decode() for *_, name in struct.iter_unpack("<ii8s", content[directory:])]
        found = [f"{game}-{name}" for name in names if re.fullmatch(r"E\dM\d|MAP\d\d", name)]
        assert len(names) == lumps and sorted(found) == [name for name in MAPS if name.startswith(game)]


def test_maps_that_have_starts_for_deathmatch_alone_can_be_walked() -> None:
    assert DoomSource(DoomConfig(["multi_duel"], frames=2)).read(0, 0, 2, 1).float().std() > 5


def test_a_source_can_be_sent_to_a_worker_and_opened_by_its_config() -> None:
    config = DoomConfig(["my_way_home"], frames=2)
    assert source_config({"doom": ["my_way_home"], "seeds": (0, 4), "frames": 2, "weight": 1.0}) == config
    source = pickle.loads(pickle.dumps(open_source(config)))
    assert source.read(0, 0, 2, 1).shape == (2, 3, 120, 160)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(ValueError, match=r"doom needs the package vizdoom: pip install 'evatok\[doom\]'"):
        DoomSource(DoomConfig("all"))


def test_wrong_configs() -> None:
    with pytest.raises(ValueError, match=r"unknown scenarios my_way; there are basic, .*my_way_home.*freedoom1-E1M1"):
        DoomSource(DoomConfig(["basic", "my_way"]))
    with pytest.raises(ValueError, match=r"none of the classes of doom can be played: .*doom2\.wad"):
        DoomSource(DoomConfig(["doom2"]))
    with pytest.raises(ValueError, match="seeds"):
        DoomConfig("all", seeds=(4, 4))
    with pytest.raises(ValueError, match="frames"):
        DoomConfig("all", frames=0)
    with pytest.raises(ValueError, match="doom is empty"):
        DoomConfig([])
