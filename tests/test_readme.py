"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest
import torch

from evatok import write_video

README = Path(__file__).parent.parent / "README.md"


def test_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    write_video("in.mp4", torch.randint(0, 256, (19, 3, 45, 80), dtype=torch.uint8), fps=24)
    names: dict[str, object] = {}
    exec(compile(blocks[0], str(README), "exec"), names)
    video = names["video"]
    assert isinstance(video, torch.Tensor) and video.shape == (1, 19, 3, 45, 80)
    exec(compile(blocks[1], str(README), "exec"), names)
