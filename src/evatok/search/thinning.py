"""A thinned search measures a part of the tree of prefixes, another of each clip, and so many more clips in its time.

Blocks of a clip under different prefixes are much alike: a few of them say nearly all of its table, and what they leave
open many clips say together. (Ours: the paper measures everything.)
"""

import torch

from evatok.assignment import Assignment, AssignmentSpace

# Means, deviations and fixed assignments come from clips that are searched wholly; fewer say too little.
FEWEST_WHOLE = 64


def draw_prefixes(space: AssignmentSpace, paths: int, generator: torch.Generator) -> frozenset[Assignment]:
    """The prefixes that a thinned search measures of a clip.

    Every length of each block behind so many random paths, and the path of the shortest lengths.
    """
    drawn = {(space.levels[0],) * blocks for blocks in range(1, space.blocks + 1)}
    for _ in range(paths):
        path = [space.levels[place] for place in torch.randint(len(space.levels), (space.blocks,), generator=generator)]
        drawn.update((*path[:blocks], level) for blocks in range(space.blocks) for level in space.levels)
    return frozenset(drawn)
