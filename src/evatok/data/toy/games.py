"""Atari 2600 games as labelled videos, rendered when asked for.

The emulator's package has the games in it. A game is a class and an episode a video: random play by a seeded
generator, so that an episode is a function of its game and seed. Screens are kept as palette indices, each
combined with its predecessor by exclusive or and compressed: 0.4 kB a frame, so that a thousand episodes fit
in memory.
"""

import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from evatok.data.clip_source import SourceConfig, check_weight
from evatok.data.toy.episodes import EpisodeSource, Palette, Screens, check_episodes, chosen

FPS = 30  # of the episodes: every second of the console's 60 screens a second, whose differences are tiny
SCREENS_A_FRAME = 2
SIZE = (210, 160)  # of the frames; a few games show more lines, of which these are the middle ones
STICKY = 0.25  # chance that the console repeats the last action: the emulator's usual setting
LONGEST_HOLD = 12  # screens for which one random action is held
WARM_UP = (60, 180)  # screens played before the first frame: titles stand still


@dataclass(frozen=True)
class GamesConfig(SourceConfig):
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
        check_episodes(self.seeds, self.frames)
        if not self.games:
            raise ValueError('games is empty: name some, or "all"')


class GamesSource(EpisodeSource):
    """Episodes of Atari games, game by game: all seeds of the first, then of the second.

    Raises:
        ValueError: `ale_py` is not installed, a game is not known, or none can be loaded.
    """

    name, fps, size = "games", FPS, SIZE

    def __init__(self, config: GamesConfig) -> None:
        try:
            from ale_py import roms
        except ImportError as error:
            raise ValueError("games need the package ale-py: pip install 'evatok[ale]'") from error
        wanted = chosen(config.games, sorted(roms.get_all_rom_ids()), "games")
        super().__init__({game: _why_not(game) for game in wanted}, config.seeds, config.frames)

    def play(self, name: str, seed: int, frames: int) -> tuple[Screens, Palette]:
        """Random play of a game."""
        from ale_py import ALEInterface, LoggerMode, roms

        rng = np.random.default_rng([seed, *name.encode()])
        ALEInterface.setLoggerMode(LoggerMode.Error)
        console = ALEInterface()
        console.setInt("random_seed", int(rng.integers(1, 2**31)))
        console.setFloat("repeat_action_probability", STICKY)
        console.loadROM(str(roms.get_rom_path(name)))
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
        return screens, palette

    @staticmethod
    def pack(screens: Screens) -> bytes:
        """As most pixels stay, a screen's exclusive or with the one before is mostly zero."""
        changes = screens.copy()
        changes[1:] ^= screens[:-1]
        return zlib.compress(changes.tobytes(), level=1)

    @staticmethod
    def unpack(chunk: bytes) -> Screens:
        """The screens that `pack` compressed."""
        screens = np.frombuffer(zlib.decompress(chunk), np.uint8).reshape(-1, *SIZE).copy()
        for before, screen in pairwise(screens):
            screen ^= before
        return screens


def _why_not(game: str) -> str:
    """Why a game cannot be played, "" if it can."""
    from ale_py import ALEInterface, roms

    path = roms.get_rom_path(game)
    if path is None:
        return "its file is missing"
    return "" if ALEInterface.isSupportedROM(path) else "the emulator does not support it"
