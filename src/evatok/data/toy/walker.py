"""How to walk through an unknown building so that a camera sees it: a script for the player of `evatok.data.toy.doom`.

Random buttons end in front of a wall. This one walks, strafes, looks around, stands and shoots for random times,
turns to where there is room, and turns away from what it cannot pass.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUTTONS = ("MOVE_FORWARD_BACKWARD_DELTA", "MOVE_LEFT_RIGHT_DELTA", "TURN_LEFT_RIGHT_DELTA", "ATTACK", "USE")

NEAR = 14.0  # depth ahead, in the engine's 255 steps, from which on the walker turns aside
SPEED = (6.0, 25.0)  # slowest and fastest walk; 25 is the engine's own walk, 8 map units a tic
AWAY = (2.0, 4.0)  # degrees a tic, at which it turns aside
EASE = 0.15  # share of the way to the wanted turning speed that a tic makes
PATIENCE = 10  # tics after which a walker that has not moved is stuck
MOVED = 0.5  # map units in that time, times its speed, below which it has not; a free walker makes 3
EYE_LEVEL = slice(50, 80)  # lines of the view (of 120) that show what is in the way
LEFT, AHEAD, RIGHT = slice(0, 50), slice(60, 100), slice(110, 160)  # columns


@dataclass(frozen=True)
class _Manner:
    """A way to move: chances of it and of going forward in it, and its turning in degrees a tic (deviation)."""

    chance: float
    forward: float
    sideways: bool
    shoots: bool
    turning: float


_MANNERS = (
    _Manner(chance=0.58, forward=1, sideways=False, shoots=False, turning=0.9),
    _Manner(chance=0.14, forward=0.5, sideways=True, shoots=False, turning=0.9),
    _Manner(chance=0.13, forward=0, sideways=False, shoots=False, turning=1.8),
    _Manner(chance=0.04, forward=0, sideways=False, shoots=False, turning=0),
    _Manner(chance=0.11, forward=0.6, sideways=False, shoots=True, turning=0.9),
)
_CHANCES = [manner.chance for manner in _MANNERS]
_HOLD = (12, 60)  # tics for which a manner is kept


class Walker:
    """Decides tic by tic which buttons to hold; the same generator and views make the same walk."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._forward = self._sideways = 0.0  # speeds; to the right is positive
        self._shoots = False
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
        elif self._forward > 0:
            self._avoid(depth)
        self._turn += EASE * (self._wanted_turn - self._turn)
        return [self._forward, self._sideways, self._turn, float(self._shoots), float(use)]

    def _choose(self) -> None:
        manner = _MANNERS[self._rng.choice(len(_MANNERS), p=_CHANCES)]
        speed = float(self._rng.uniform(*SPEED))
        self._forward = speed if self._rng.random() < manner.forward else 0.0
        self._sideways = speed * float(self._rng.choice([-1, 1])) if manner.sideways else 0.0
        self._shoots = manner.shoots
        self._wanted_turn = float(self._rng.normal(0, manner.turning))
        self._left = int(self._rng.integers(*_HOLD))

    def _stuck(self, position: NDArray[np.float64]) -> bool:
        """Whether it has walked for a while and is where it was; what is in the way may be a door."""
        if self._forward == 0:
            self._trail.clear()
            return False
        self._trail = [*self._trail[-PATIENCE:], position]
        moved = np.abs(position - self._trail[0]).sum()
        return len(self._trail) > PATIENCE and bool(moved < MOVED * self._forward)

    def _turn_about(self) -> None:
        self._forward = self._sideways = 0.0
        self._wanted_turn = float(self._rng.choice([-1, 1]) * self._rng.uniform(2, 5))
        self._left = int(self._rng.integers(20, 45))

    def _avoid(self, depth: NDArray[np.uint8]) -> None:
        """Turn to the side that has more room if there is little ahead."""
        view = depth[EYE_LEVEL]
        if view[:, AHEAD].mean() < NEAR and abs(self._wanted_turn) < AWAY[0]:
            side = 1 if view[:, RIGHT].mean() > view[:, LEFT].mean() else -1
            self._wanted_turn = float(side * self._rng.uniform(*AWAY))
            self._left = max(self._left, 8)
