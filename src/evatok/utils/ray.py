"""Parts in the actors of a Ray cluster, or of Ray on this machine: they stream through them.

A part is a task. An actor that dies is started again, and what it had not written is done again, by it or by another.
"""

from collections.abc import Callable
from typing import Any

import torch

from evatok.utils.parts import Part, Work


def run_by_ray(make: Callable[[], Work], parts: list[Part], actors: int | None, done: Callable[[int], object]) -> None:
    """Does parts as `run_parts` says; `done` is told of whole parts.

    Raises:
        ValueError: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ValueError("runner `ray` needs Ray: pip install 'evatok[ray]'") from error
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        actors = actors or max(gpus, 1)
        cpus = max(1, int(resources["CPU"]) // actors)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # A part may take as long as it likes.
        context.execution_no_progress_timeout_s = -1
        actor: Any = _Actor  # Ray's types know functions alone.
        rows = [{"path": part.path, "start": part.places.start, "stop": part.places.stop} for part in parts]
        finished = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            actor,
            fn_constructor_args=(make, cpus),
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(parts))),
            num_cpus=cpus,
            num_gpus=1 if gpus >= actors else None,
        )
        for row in finished.iter_rows():
            done(row["done"])
    finally:
        if started:
            ray.shutdown()


class _Actor:
    """A process of its own that does one part after another."""

    def __init__(self, make: Callable[[], Work], cpus: int) -> None:
        torch.set_num_threads(cpus)
        self.work = make()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        counts: list[int] = []
        self.work(Part(row["path"], range(row["start"], row["stop"])), counts.append)
        return {"done": sum(counts)}
