"""Walks in made-up rooms: what is in the way and what is not."""

import numpy as np

from evatok.data.toy.walker import BUTTONS, PATIENCE, Walker

FORWARD, TURN, USE = (BUTTONS.index(name) for name in ("MOVE_FORWARD_BACKWARD_DELTA", "TURN_LEFT_RIGHT_DELTA", "USE"))
FAR = np.full((120, 160), 200, np.uint8)


def walk(tics: int, depth: np.ndarray, *, blocked: bool, seed: int = 0) -> np.ndarray:
    """What is done with each button, (tics, buttons), by a player who goes straight on or nowhere."""
    walker, at, done = Walker(np.random.default_rng(seed)), np.zeros(2), []
    for _ in range(tics):
        done.append(walker.step(depth, at.copy()))
        at[0] += 0 if blocked else done[-1][FORWARD] / 3
    return np.array(done)


def test_the_same_generator_makes_the_same_walk() -> None:
    walks = [walk(300, FAR, blocked=False, seed=seed) for seed in (1, 1, 2)]
    assert walks[0].shape == (300, len(BUTTONS))
    assert np.array_equal(walks[0], walks[1])
    assert not np.array_equal(walks[0], walks[2])


def test_speeds_vary_and_turns_are_smooth() -> None:
    done = walk(3000, FAR, blocked=False)
    forward = done[:, FORWARD]
    assert 0.5 < (forward > 0).mean() < 0.95
    assert len(np.unique(forward)) > 20
    assert np.abs(np.diff(done[:, TURN])).max() < 1.5
    assert not done[:, USE].any()


def test_who_is_stuck_tries_the_door_and_turns_away() -> None:
    done = walk(400, FAR, blocked=True)
    tries = np.flatnonzero(done[:, USE])
    assert len(tries) > 3
    assert np.all(np.diff(tries) > PATIENCE)
    assert np.all(done[tries, FORWARD] == 0)
    turned = [np.abs(done[at : at + 20, TURN].sum()) for at in tries[:-1]]
    assert min(turned) > 20


def test_turns_to_where_there_is_room() -> None:
    room_on_the_right, room_on_the_left = np.full((2, 120, 160), 3, np.uint8)
    room_on_the_right[:, 110:] = room_on_the_left[:, :50] = 100
    right = walk(400, room_on_the_right, blocked=False)
    left = walk(400, room_on_the_left, blocked=False)
    assert right[:, TURN].mean() > 1
    assert left[:, TURN].mean() < -1
