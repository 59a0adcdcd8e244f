"""How to walk through an unknown building so that a camera sees it: a script for the player of `evatok.data.doom`.

Random buttons end in front of a wall. This one walks, strafes, looks around, stands and shoots for random times,
turns to where there is room, and turns away from what it cannot pass.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUTTONS = ("MOVE_FORWARD", "MOVE_LEFT", "MOVE_RIGHT", "TURN_LEFT_RIGHT_DELTA", "ATTACK", "USE")

NEAR = 8.0  # depth ahead, in the engine's 255 steps, from which on the walker turns aside
EASE = 0.15  # share of the way to the wanted turning speed that a tic makes
PATIENCE = 10  # tics after which a walker that has not moved is stuck
MOVED = 12.0  # map units, of the 80 that a free walker makes in that time
EYE_LEVEL = slice(50, 80)  # lines of the view (of 120) that show what is in the way
LEFT, AHEAD, RIGHT = slice(0, 50), slice(60, 100), slice(110, 160)  # columns


@dataclass(frozen=True)
class _Manner:
    """A way to move: how often it is chosen, if at all how it goes, and degrees a tic of turning (deviation)."""

    chance: float
    forward: float
    sideways: float
    shoots: bool
    turning: float


_MANNERS = (
    _Manner(chance=0.58, forward=1, sideways=0, shoots=False, turning=0.9),
    _Manner(chance=0.14, forward=0.5, sideways=1, shoots=False, turning=0.9),
    _Manner(chance=0.13, forward=0, sideways=0, shoots=False, turning=2.5),
    _Manner(chance=0.04, forward=0, sideways=0, shoots=False, turning=0),
    _Manner(chance=0.11, forward=0.6, sideways=0, shoots=True, turning=0.9),
)
_CHANCES = [manner.chance for manner in _MANNERS]
_HOLD = (12, 60)  # tics for which a manner is kept


class Walker:
    """Decides tic by tic which buttons to hold; the same generator and views make the same walk."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._forward = self._shoots = False
        self._sideways = 0  # -1 left, 1 right
        self._turn = self._wanted_turn = 0.0  # degrees a tic, to the right
        self._left = 0  # tics of the present manner
        self._trail: list[NDArray[np.float64]] = []

    def start_anew(self) -> None:
        """Forget where it has been: the player was put elsewhere."""
        self._trail.clear()

    def step(self, depth: NDArray[np.uint8], position: NDArray[np.float64]) -> list[float]:
        """What to do with each of `BUTTONS` in the next tic.

        Args:
            depth: distances in view, uint8 (120, 160), 255 the farthest.
            position: the player's (x, y) in map units.
        """
        if self._left == 0:
            self._choose()
        self._left -= 1
        use = self._stuck(position)
        if use:
            self._turn_about()
        elif self._forward:
            self._avoid(depth)
        self._turn += EASE * (self._wanted_turn - self._turn)
        return [
            float(self._forward),
            float(self._sideways < 0),
            float(self._sideways > 0),
            self._turn,
            float(self._shoots),
            float(use),
        ]

    def _choose(self) -> None:
        manner = _MANNERS[self._rng.choice(len(_MANNERS), p=_CHANCES)]
        self._forward = bool(self._rng.random() < manner.forward)
        self._sideways = int(self._rng.choice([-1, 1])) if manner.sideways else 0
        self._shoots = manner.shoots
        self._wanted_turn = float(self._rng.normal(0, manner.turning))
        self._left = int(self._rng.integers(*_HOLD))

    def _stuck(self, position: NDArray[np.float64]) -> bool:
        """Whether it has walked for a while and is where it was; what is in the way may be a door."""
        if not self._forward:
            self._trail.clear()
            return False
        self._trail = [*self._trail[-PATIENCE:], position]
        return len(self._trail) > PATIENCE and bool(np.abs(position - self._trail[0]).sum() < MOVED)

    def _turn_about(self) -> None:
        self._forward = False
        self._sideways = 0
        self._wanted_turn = float(self._rng.choice([-1, 1]) * self._rng.uniform(3, 7))
        self._left = int(self._rng.integers(15, 30))

    def _avoid(self, depth: NDArray[np.uint8]) -> None:
        """Turn to the side that has more room if there is little ahead."""
        view = depth[EYE_LEVEL]
        if view[:, AHEAD].mean() < NEAR and abs(self._wanted_turn) < 3:
            side = 1 if view[:, RIGHT].mean() > view[:, LEFT].mean() else -1
            self._wanted_turn = float(side * self._rng.uniform(3, 6))
            self._left = max(self._left, 8)
