"""The package as it is installed: version, import and what a wheel holds."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

import evatok

ROOT = Path(__file__).parent.parent


def test_version_is_the_installed_one() -> None:
    assert importlib.metadata.version("evatok") == evatok.__version__


def test_import_needs_no_extra() -> None:
    extras = {"ale_py", "vizdoom", "gymnasium", "skimage", "ray", "gradio", "scipy", "torchvision"}
    code = f"import sys, evatok; print(*({extras!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_wheel_holds_every_file_of_the_package() -> None:
    """Also what is no Python: py.typed, and the shipped weights with their configs and cards."""
    files = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    source = ROOT / "src"
    kept = {
        str(path.relative_to(source))
        for path in (source / "evatok").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "evatok/py.typed" in kept
    assert kept <= files


def test_scripts_are_declared() -> None:
    (script,) = (e for e in importlib.metadata.entry_points(group="console_scripts") if e.name == "evatok")
    assert script.value == "evatok.cli:main"
