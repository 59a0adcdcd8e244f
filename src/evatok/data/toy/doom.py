"""Walks through Doom's rooms as labelled videos, rendered when asked for: a camera that moves through depth.

ViZDoom's package has the engine, small scenarios and the two games of Freedoom in it. A scenario, or a map of
Freedoom, is a class and an episode a video: a scripted walk by a seeded generator, so that an episode is a
function of its scenario and seed. Screens are kept as palette indices, compressed by columns, as walls
are upright: 6 kB a frame, so that four episodes of everything fit in memory.
"""

import struct
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evatok.data.clip_source import SourceConfig, check_weight
from evatok.data.toy.episodes import EpisodeSource, Palette, Screens, check_episodes, chosen
from evatok.data.toy.walker import BUTTONS, Walker

FPS = 17.5  # of the episodes: every second of the engine's 35 tics a second
TICS_A_FRAME = 2
SIZE = (120, 160)  # of the frames
SKILL = 2  # of 5: monsters move and shoot, but a walk is seldom cut short by them
WARM_UP = (20, 140)  # tics before the first frame: all episodes of a map begin in one place
WEAPON_SHOWN = 0.5  # chance that an episode shows the player's weapon

SCENARIOS = (
    "basic",
    "cig",
    "deadly_corridor",
    "deathmatch",
    "defend_the_center",
    "defend_the_line",
    "health_gathering",
    "health_gathering_supreme",
    "multi",
    "multi_duel",
    "my_way_home",
    "predict_position",
    "rocket_basic",
    "simpler_basic",
    "take_cover",
)
MAPS = (
    *(f"freedoom1-E{episode}M{level}" for episode in range(1, 5) for level in range(1, 10)),
    *(f"freedoom2-MAP{level:02}" for level in range(1, 33)),
)
LEFT_OUT = {
    "basic_audio": "it looks like basic",
    "basic_notifications": "it looks like basic",
    "doom": "it needs doom.wad, which is not free",
    "doom2": "it needs doom2.wad, which is not free",
    "learning": "it looks like basic",
    "oblige": "it has no map",
}
# Without these entries the engine makes the folder _vizdoom in the working one, and runs what is in there.
SETTINGS = "".join(f"[{game}.AutoExec]\nPath=\n" for game in ("Doom", "Heretic", "Hexen", "Strife", "Chex"))
# Show words such as "yellow key needed" for a tic: with 0 seconds, as `set_render_messages` has it, they stay for ever.
WORDS = "+con_midtime 0.03"
DEATHMATCH_STARTS_ONLY = ("cig", "multi_duel")  # the engine takes the process down if it begins these otherwise


@dataclass(frozen=True)
class DoomConfig(SourceConfig):
    """Episodes of scripted walks.

    Args:
        doom: names of scenarios ("my_way_home") and of Freedoom's maps ("freedoom1-E1M1"), or "all".
        seeds: first seed and the one after the last; each scenario has an episode a seed.
        frames: length of an episode, at 17.5 frames a second.
        weight: share of training clips, relative to the other sources' weights.
    """

    doom: Literal["all"] | list[str]
    seeds: tuple[int, int] = (0, 4)
    frames: int = 160
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight(self.weight)
        check_episodes(self.seeds, self.frames)
        if not self.doom:
            raise ValueError('doom is empty: name some scenarios, or "all"')


class DoomSource(EpisodeSource):
    """Walks through Doom's rooms, scenario by scenario: all seeds of the first, then of the second.

    Raises:
        ValueError: `vizdoom` is not installed, a scenario is not known, or none can be played.
    """

    name, fps, size = "doom", FPS, SIZE

    def __init__(self, config: DoomConfig) -> None:
        try:
            import vizdoom
        except ImportError as error:
            raise ValueError("doom needs the package vizdoom: pip install 'evatok[doom]'") from error
        self._folder = Path(vizdoom.__file__).parent
        wanted = chosen(config.doom, (*sorted((*SCENARIOS, *LEFT_OUT)), *MAPS), "scenarios")
        super().__init__({name: LEFT_OUT.get(name, "") for name in wanted}, config.seeds, config.frames)

    def play(self, name: str, seed: int, frames: int) -> tuple[Screens, Palette]:
        """A walk; where an episode of the scenario ends, the next one begins."""
        rng = np.random.default_rng([seed, *name.encode()])
        walker = Walker(rng)
        screens = np.empty((frames, *SIZE), np.uint8)
        warm_up = int(rng.integers(*WARM_UP))
        with tempfile.TemporaryDirectory() as folder:
            settings = Path(folder, "settings.ini")
            settings.write_text(SETTINGS)
            game = self._game(name, rng, settings)
            try:
                game.init()
                for tic in range(warm_up + frames * TICS_A_FRAME):
                    if game.is_episode_finished():
                        game.new_episode()
                        walker.start_anew()
                    state = game.get_state()
                    frame, skipped = divmod(tic - warm_up, TICS_A_FRAME)
                    if frame >= 0 and not skipped:
                        screens[frame] = state.screen_buffer
                    game.make_action(walker.step(state.depth_buffer, state.game_variables), 1)
            finally:
                game.close()
        return screens, _palette(self._folder / "freedoom2.wad")

    @staticmethod
    def pack(screens: Screens) -> bytes:
        """By columns: walls are upright."""
        return zlib.compress(screens.swapaxes(1, 2).tobytes(), level=6)

    @staticmethod
    def unpack(chunk: bytes) -> Screens:
        """The screens that `pack` compressed."""
        return np.frombuffer(zlib.decompress(chunk), np.uint8).reshape(-1, *SIZE[::-1]).swapaxes(1, 2)

    def _game(self, scenario: str, rng: np.random.Generator, settings: Path) -> Any:
        """A game that is ready to begin; the engine also writes to the file of settings."""
        import vizdoom

        name, _, level = scenario.partition("-")
        game = vizdoom.DoomGame()
        game.load_config(str(self._folder / "scenarios" / f"{name}.cfg"))
        if level:
            game.set_doom_map(level)
        game.add_game_args(WORDS)
        if name in DEATHMATCH_STARTS_ONLY:
            game.add_game_args("+deathmatch 1")
        game.set_doom_config_path(str(settings))
        game.set_seed(int(rng.integers(2**31)))
        game.set_mode(vizdoom.Mode.PLAYER)
        game.set_doom_skill(SKILL)
        game.set_episode_timeout(0)
        game.set_available_buttons([getattr(vizdoom.Button, button) for button in BUTTONS])
        game.set_available_game_variables([vizdoom.GameVariable.POSITION_X, vizdoom.GameVariable.POSITION_Y])
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        game.set_audio_buffer_enabled(False)
        game.set_automap_buffer_enabled(False)
        game.set_notifications_buffer_enabled(False)
        game.set_depth_buffer_enabled(True)
        game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
        game.set_screen_format(vizdoom.ScreenFormat.DOOM_256_COLORS8)
        game.set_render_hud(False)
        game.set_render_messages(False)
        game.set_render_crosshair(False)
        game.set_render_screen_flashes(False)
        game.set_render_weapon(bool(rng.random() < WEAPON_SHOWN))
        return game


def _palette(wad: Path) -> Palette:
    """The colours without tints out of a WAD file, which ends in a directory of its lumps: uint8 (256, 3)."""
    with wad.open("rb") as file:
        _, lumps, directory = struct.unpack("<4sii", file.read(12))
        file.seek(directory)
        places = {name: at for at, _, name in struct.iter_unpack("<ii8s", file.read(16 * lumps))}
        file.seek(places[b"PLAYPAL\0"])
        return np.frombuffer(file.read(768), np.uint8).reshape(256, 3)
