"""The search in the actors of a Ray cluster, or of Ray on this machine: parts stream through them.

A part is a task. An actor that dies is started again, and what it had not written is done again, by it or by another.
"""

from collections.abc import Iterator
from typing import Any

import torch

from evatok.stages.search.parts import Part, PartSearcher, SearchConfig


def search_by_ray(config: SearchConfig, made_by: dict[str, Any], parts: list[Part]) -> Iterator[int]:
    """Writes parts of the table; yields the number of clips of each that is done.

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
        actors = config.actors or max(gpus, 1)
        cpus = max(1, int(resources["CPU"]) // actors)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # A part may take as long as it likes.
        context.execution_no_progress_timeout_s = -1
        actor: Any = _Actor  # Ray's types know functions alone.
        rows = [{"path": part.path, "start": part.places.start, "stop": part.places.stop} for part in parts]
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            actor,
            fn_constructor_args=(config, made_by, cpus),
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(parts))),
            num_cpus=cpus,
            num_gpus=1 if gpus >= actors else None,
        )
        for row in done.iter_rows():
            yield row["clips"]
    finally:
        if started:
            ray.shutdown()


class _Actor:
    """A process of its own that searches one part after another."""

    def __init__(self, config: SearchConfig, made_by: dict[str, Any], cpus: int) -> None:
        torch.set_num_threads(cpus)
        self.searcher = PartSearcher(config, made_by)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        places = range(row["start"], row["stop"])
        for _ in self.searcher.search(Part(row["path"], places)):
            pass
        return {"clips": len(places)}
