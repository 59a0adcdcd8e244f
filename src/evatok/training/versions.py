"""Which versions something was made with. It is here, not in utils, as `evatok` itself imports every room below."""

import platform
import subprocess
import sys
from pathlib import Path

import torch

import evatok


def versions() -> dict[str, str]:
    """Of evatok and torch."""
    return {"evatok": evatok.__version__, "torch": torch.__version__}


def python() -> str:
    """Python's version and its platform."""
    return f"{platform.python_version()} on {sys.platform}"


def commit(package: str | Path = evatok.__path__[0]) -> str | None:
    """The commit of a package's sources, "-dirty" added where they differ; None outside a git checkout."""
    # An installed package may lie inside somebody else's checkout: only files that git knows count.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: str | Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
