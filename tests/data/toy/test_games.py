"""Episodes of Atari games: what they are a function of, and their colours."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch

from evatok.data.toy.games import GamesConfig, GamesSource

ale_py = pytest.importorskip("ale_py")


def two_games(frames: int = 24) -> GamesSource:
    return GamesSource(GamesConfig(["pong", "seaquest"], seeds=(3, 5), frames=frames))


def test_games_are_classes_and_episodes_videos() -> None:
    source = two_games()
    entries = [source.describe(index) for index in range(len(source))]
    assert source.classes == ("pong", "seaquest")
    assert [(entry.key, entry.label) for entry in entries] == [
        ("pong/3", 0),
        ("pong/4", 0),
        ("seaquest/3", 1),
        ("seaquest/4", 1),
    ]
    assert all(entry.frames == 24 and entry.size == (210, 160) for entry in entries) and source.fps == 30
    with pytest.raises(IndexError):
        source.describe(4)


def test_an_episode_is_a_function_of_game_and_seed() -> None:
    source, again = two_games(), two_games()
    whole = source.read(3, 0, 24, 1)
    assert whole.shape == (24, 3, 210, 160) and whole.dtype == torch.uint8
    again.read(0, 0, 1, 1)
    assert torch.equal(again.read(3, 0, 24, 1), whole)
    assert torch.equal(source.read(3, 5, 6, 3), whole[5:21:3])
    assert torch.equal(source.read(3, 23, 1, 1), whole[23:])
    assert not torch.equal(source.read(2, 0, 24, 1), whole)
    assert len({frame.numpy().tobytes() for frame in whole}) > 6
    with pytest.raises(ValueError, match="seaquest/4 has 24 frames"):
        source.read(3, 20, 5, 1)


def test_colours_are_those_of_the_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[np.ndarray[Any, Any]] = []

    class Watched(ale_py.ALEInterface):  # type: ignore[name-defined]
        def getScreen(self) -> Any:
            shown.append(self.getScreenRGB())
            return super().getScreen()

    monkeypatch.setattr(ale_py, "ALEInterface", Watched)
    frames = GamesSource(GamesConfig(["riverraid"], frames=20)).read(0, 0, 20, 1).permute(0, 2, 3, 1).numpy()
    assert len(shown) == 20
    assert np.array_equal(frames, np.stack(shown))


def test_episodes_are_kept_up_to_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[int] = []
    play = GamesSource.play

    def counted(self: GamesSource, name: str, seed: int, frames: int) -> Any:
        played.append(seed)
        return play(self, name, seed, frames)

    monkeypatch.setattr(GamesSource, "play", counted)
    source = two_games(frames=4)
    for index in (0, 1, 0, 1):
        source.read(index, 0, 1, 1)
    assert played == [3, 4]
    monkeypatch.setattr("evatok.data.toy.episodes.CACHE_BYTES", 1)
    source = two_games(frames=4)
    for index in (0, 1, 0):
        source.read(index, 0, 1, 1)
    assert played == [3, 4, 3, 4, 3]


def test_all_games_are_many_and_broken_ones_reported(caplog: pytest.LogCaptureFixture) -> None:
    source = GamesSource(GamesConfig("all", seeds=(0, 1)))
    assert len(source.classes) > 90
    assert "pong" in source.classes and "combat" not in source.classes
    assert "'combat': 'the emulator does not support it'" in caplog.text


def test_a_source_can_be_sent_to_a_worker() -> None:
    source = pickle.loads(pickle.dumps(two_games(frames=4)))
    assert source.read(0, 0, 4, 1).shape == (4, 3, 210, 160)


def test_wrong_configs() -> None:
    with pytest.raises(ValueError, match="unknown games pingpong"):
        GamesSource(GamesConfig(["pong", "pingpong"]))
    with pytest.raises(ValueError, match="seeds"):
        GamesConfig("all", seeds=(4, 4))
    with pytest.raises(ValueError, match="frames"):
        GamesConfig("all", frames=0)
    with pytest.raises(ValueError, match="games is empty"):
        GamesConfig([])
