"""A visitor of the web demo: what belongs to them alone."""

import shutil
import tempfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from evatok.app.clip_curve import ClipCurve
from evatok.app.comparing import Compared
from evatok.app.reading import KeptClips


@dataclass
class Opened:
    """The video that a visitor looks at.

    Args:
        source: its file.
        name: as the visitor knows it.
        clips: of it, all that are shown.
        curve: of its first clip; None where the pictures are too small to be measured.
        shown: what is shown of it.
    """

    source: Path
    name: str
    clips: KeptClips
    curve: ClipCurve | None
    shown: Compared


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
        """A new folder of the visitor's, so that files of any name go beside each other."""
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        return folder

    def end(self) -> None:
        """Removes all that the visitor has."""
        self.opened = None
        shutil.rmtree(self.folder, ignore_errors=True)
