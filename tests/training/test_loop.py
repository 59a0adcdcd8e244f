"""What the loop leaves behind."""

import multiprocessing
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType

from torch import Tensor

from evatok.training.loop import train
from evatok.training.task import Item
from tests.rivals import Numbers
from tests.toy import LOOP, Toy, ToyConfig


class Clinging(Toy):
    """Holds on to the frames that called it, as a traceback may that nobody has collected yet."""

    frame: FrameType | None = None

    def losses(self, step: int, item: Item[Numbers]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        self.frame = sys._getframe()
        yield from super().losses(step, item)


def test_processes_that_make_batches_end_with_the_loop(tmp_path: Path) -> None:
    config = ToyConfig(str(tmp_path), replace(LOOP, workers=1))
    task = Clinging(config)
    train(task, config)
    assert task.frame is not None and multiprocessing.active_children() == []
