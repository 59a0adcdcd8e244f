"""A visitor of the web demo: what belongs to them alone."""

import shutil
import tempfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from evatok.app.clip_curve import ClipCurve
from evatok.app.reading import KeptClips

_KEPT = 4


@dataclass
class Opened:
    """The video that a visitor looks at.

    Args:
        source: its file.
        name: as the visitor knows it.
        parts: its first clips, and all of it that is shown; one where that is the same.
        curve: of its first clip; None where the pictures are too small to be measured.
    """

    source: Path
    name: str
    parts: list[KeptClips]
    curve: ClipCurve | None


@dataclass
class Visit:
    """What one visitor has: a folder that no other writes into or is served from, and the video that they look at."""

    folder: Path
    opened: Opened | None = None
    _numbers: count = field(default_factory=lambda: count(1))

    @classmethod
    def begin(cls, root: Path) -> "Visit":
        """A visit with a new folder of a name that nobody can guess."""
        return cls(Path(tempfile.mkdtemp(prefix="visitor-", dir=root)))

    def new_folder(self) -> Path:
        """A new folder of the visitor's; older ones go, but for a few that may still be read."""
        number = next(self._numbers)
        shutil.rmtree(self.folder / str(number - _KEPT), ignore_errors=True)
        folder = self.folder / str(number)
        folder.mkdir()
        return folder

    def end(self) -> None:
        """Removes all that the visitor has."""
        self.opened = None
        shutil.rmtree(self.folder, ignore_errors=True)
