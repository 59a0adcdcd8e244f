"""The Python of the README and the pages runs as it stands, a page's blocks one after the other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evatok import VideoGenerator
from tests.docs.pages import PAGES, ROOT, python_of


def _a_clip() -> dict[str, Any]:
    return {"clip": torch.randint(256, (2, 16, 3, 64, 64), dtype=torch.uint8)}


def _a_llama() -> dict[str, Any]:
    generator = VideoGenerator.from_pretrained("evatok-tiny-ale")
    start = generator.grammar.vocabulary.label("pong")
    return {"llama": generator.model, "prompts": torch.tensor([[start]])}


# What a page speaks of before its Python does.
GIVEN: dict[str, Callable[[], dict[str, Any]]] = {"docs/routing.md": _a_clip, "docs/generator.md": _a_llama}
WITH_PYTHON = [page for page in PAGES if python_of(page)]


def run(page: Path) -> dict[str, Any]:
    """Runs the page's Python where the process stands; what it has made, by name."""
    name = str(page.relative_to(ROOT))
    names = GIVEN.get(name, dict)()
    for number, block in enumerate(python_of(page)):
        exec(compile(block, f"{name}, block {number}", "exec"), names)
    return names


# Videos that a page ends with, by its name.
VIDEOS = {"README.md": (1, 19, 3, 45, 80), "own-generator.md": (2, 16, 3, 64, 64), "generator.md": (2, 16, 3, 64, 64)}


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_python_of_a_page_runs(page: Path, workplace: Path) -> None:
    names = run(page)
    if page.name in VIDEOS:
        video = names["videos" if "videos" in names else "video"]
        assert video.shape == VIDEOS[page.name] and video.dtype == torch.uint8


def test_pages_that_end_with_videos_have_python() -> None:
    assert {*VIDEOS} <= {page.name for page in WITH_PYTHON}
