"""Atari 2600 games as labelled videos, rendered when asked for.

The emulator's package has the games in it. A game is a class and an episode a video: random play by a seeded
generator, so that an episode is a function of its game and seed. Screens are kept as palette indices, each
combined with its predecessor by exclusive or and compressed: 0.4 kB a frame, so that a thousand episodes fit
in memory.
"""

import logging
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evatok.data.clip_source import VideoEntry, check_range
from evatok.data.folders import check_weight

logger = logging.getLogger(__name__)

FPS = 30  # of the episodes: every second of the console's 60 screens a second, whose differences are tiny
SCREENS_A_FRAME = 2
SIZE = (210, 160)  # of the frames; a few games show more lines, of which these are the middle ones
STICKY = 0.25  # chance that the console repeats the last action: the emulator's usual setting
LONGEST_HOLD = 12  # screens for which one random action is held
WARM_UP = (60, 180)  # screens played before the first frame: titles stand still
CHUNK = 16  # frames compressed together
CACHE_BYTES = 512 * 2**20  # compressed episodes kept, least recently used first to go


@dataclass(frozen=True)
class GamesConfig:
    """Episodes of random play.

    Args:
        games: names of the games (as `ale_py` has them, such as "pong"), or "all".
        seeds: first seed and the one after the last; each game has an episode a seed.
        frames: length of an episode, at 30 frames a second.
        weight: share of training clips, relative to the other sources' weights.
    """

    games: Literal["all"] | list[str]
    seeds: tuple[int, int] = (0, 8)
    frames: int = 320
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight(self.weight)
        first, after = self.seeds
        if not 0 <= first < after:
            raise ValueError(f"seeds are the first and the one after the last, in order, not {self.seeds}")
        if self.frames < 1:
            raise ValueError(f"frames must be at least 1, not {self.frames}")
        if not self.games:
            raise ValueError('games is empty: name some, or "all"')


class GamesSource:
    """Episodes of Atari games, game by game: all seeds of the first, then of the second.

    A game that the emulator cannot load is left out and reported in `skipped`.

    Raises:
        ValueError: `ale_py` is not installed, a game is not known, or none can be loaded.
    """

    name = "games"

    def __init__(self, config: GamesConfig) -> None:
        self._emulator = _Emulator()
        known = self._emulator.games
        wanted = list(known) if config.games == "all" else list(config.games)
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            raise ValueError(f"unknown games {', '.join(unknown)}; there are {', '.join(known)}")
        reasons = {game: self._emulator.why_not(game) for game in wanted}
        self.skipped = {game: reason for game, reason in reasons.items() if reason}
        self.classes = tuple(game for game, reason in reasons.items() if not reason)
        if self.skipped:
            logger.warning("games: skipped %d of %d: %s", len(self.skipped), len(wanted), self.skipped)
        if not self.classes:
            raise ValueError(f"none of the games can be loaded: {self.skipped}")
        self._config = config
        self._cache: OrderedDict[int, _Episode] = OrderedDict()
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self.classes) * self._seeds

    def describe(self, index: int) -> VideoEntry:
        """Episode `index`; its key is "game/seed"."""
        game, seed = self._game_and_seed(index)
        return VideoEntry(f"{self.classes[game]}/{seed}", label=game, frames=self._config.frames, size=SIZE)

    def identities(self, index: int) -> tuple[str, ...]:
        """Game and seed, whatever the length."""
        game, seed = self._game_and_seed(index)
        return (f"game:{self.classes[game]}/{seed}",)

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        """Frames `start`, `start + step`, ... of episode `index`: uint8 (count, 3, 210, 160)."""
        check_range(self.describe(index), start, count, step)
        return self._episode(index).frames(start, count, step)

    @property
    def _seeds(self) -> int:
        first, after = self._config.seeds
        return after - first

    def _game_and_seed(self, index: int) -> tuple[int, int]:
        game, offset = divmod(range(len(self))[index], self._seeds)
        return game, self._config.seeds[0] + offset

    def _episode(self, index: int) -> "_Episode":
        """The episode, played now or kept from an earlier read."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        game, seed = self._game_and_seed(index)
        episode = self._emulator.play(self.classes[game], seed, self._config.frames)
        self._cache[index] = episode
        self._cached_bytes += episode.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return episode


class _Episode:
    """The frames of an episode, compressed `CHUNK` at a time, and its palette: colours (256, 3)."""

    def __init__(self, screens: NDArray[np.uint8], palette: NDArray[np.uint8]) -> None:
        self._palette = palette
        self._chunks = [_pack(screens[at : at + CHUNK]) for at in range(0, len(screens), CHUNK)]
        self.nbytes = sum(len(chunk) for chunk in self._chunks) + palette.nbytes

    def frames(self, start: int, count: int, step: int) -> Tensor:
        """uint8 (count, 3, 210, 160)."""
        first, last = start // CHUNK, (start + (count - 1) * step) // CHUNK
        screens = np.concatenate([_unpack(chunk) for chunk in self._chunks[first : last + 1]])
        chosen = screens[start - first * CHUNK :: step][:count]
        return torch.from_numpy(np.stack([channel[chosen] for channel in self._palette.T], axis=1))


def _pack(screens: NDArray[np.uint8]) -> bytes:
    """Compress screens; as most pixels stay, a screen's exclusive or with the one before is mostly zero."""
    changes = screens.copy()
    changes[1:] ^= screens[:-1]
    return zlib.compress(changes.tobytes(), level=1)


def _unpack(chunk: bytes) -> NDArray[np.uint8]:
    screens = np.frombuffer(zlib.decompress(chunk), np.uint8).reshape(-1, *SIZE).copy()
    for before, screen in pairwise(screens):
        screen ^= before
    return screens


class _Emulator:
    """The Arcade Learning Environment: which games it has, and random play of one."""

    def __init__(self) -> None:
        try:
            from ale_py import roms
        except ImportError as error:
            raise ValueError("games need the package ale-py: pip install 'evatok[ale]'") from error
        self.games: tuple[str, ...] = tuple(sorted(roms.get_all_rom_ids()))

    def why_not(self, game: str) -> str:
        """Why a game cannot be played, "" if it can."""
        from ale_py import ALEInterface, roms

        path = roms.get_rom_path(game)
        if path is None:
            return "its file is missing"
        return "" if ALEInterface.isSupportedROM(path) else "the emulator does not support it"

    def play(self, game: str, seed: int, frames: int) -> _Episode:
        """One episode of random play."""
        from ale_py import ALEInterface, LoggerMode, roms

        rng = np.random.default_rng([seed, *game.encode()])
        ALEInterface.setLoggerMode(LoggerMode.Error)
        console = ALEInterface()
        console.setInt("random_seed", int(rng.integers(1, 2**31)))
        console.setFloat("repeat_action_probability", STICKY)
        console.loadROM(str(roms.get_rom_path(game)))
        actions = console.getMinimalActionSet()
        warm_up = int(rng.integers(*WARM_UP))
        screens = np.empty((frames, *SIZE), np.uint8)
        palette, seen = np.zeros((256, 3), np.uint8), np.zeros(256, bool)
        action, hold = actions[0], 0
        for screen in range(warm_up + frames * SCREENS_A_FRAME):
            if hold == 0:
                action = actions[rng.integers(len(actions))]
                hold = int(rng.integers(1, LONGEST_HOLD + 1))
            hold -= 1
            if console.game_over():
                console.reset_game()
            console.act(action)
            frame, skipped = divmod(screen - warm_up, SCREENS_A_FRAME)
            if frame >= 0 and not skipped:
                screen_indices = console.getScreen()
                top = (len(screen_indices) - SIZE[0]) // 2
                indices = screens[frame] = screen_indices[top : top + SIZE[0]]
                if not seen[indices].all():
                    palette[indices] = console.getScreenRGB()[top : top + SIZE[0]]
                    seen[indices] = True
        return _Episode(screens, palette)
