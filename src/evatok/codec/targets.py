"""Where results go: the file or folder that is meant, looked at before any work is done, and filled at once."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from evatok.utils.files import destination, making_parents, replacing, temporary_folder
from evatok.utils.saving import CONFIG, WEIGHTS


class FileError(ValueError):
    """A file that cannot be read or written as asked; says which and why."""


@contextmanager
def named(output: str, source: Path, suffix: str) -> Iterator[Path]:
    """The file that a user means by `output`: in a folder, or where it ends with a slash, one with the source's name.

    Such a folder is made where there is none; on an exception it goes again.
    """
    if not os.path.isdir(output) and not output.endswith(("/", os.sep)):
        yield Path(output)
        return
    with making_parents(Path(output)):
        yield Path(output, source.stem + suffix)


def check_target(target: Path, source: Path, tokenizer: str | None) -> None:
    """Looks at a target before any work is done.

    Args:
        target: a file that is to be written.
        source: a file that is to be read.
        tokenizer: may be a folder, whose files are to be read too.

    Raises:
        FileError: the target would replace what is to be read, be it by another name or a link.
        WriteError: it could not be written.
    """
    place, inputs = destination(target), [source]
    if tokenizer:
        inputs += [Path(tokenizer, part, name) for part in ("", "router") for name in (WEIGHTS, CONFIG)]
    if place.exists():
        for path in inputs:
            if path.exists() and place.samefile(path):
                raise FileError(f"cannot write {target}: it is the input {path}")


@contextmanager
def filled_together(folder: Path, names: Iterable[str], source: Path, tokenizer: str) -> Iterator[Path]:
    """Gives a temporary folder whose files move into `folder` in the end; on an exception nothing is left of either.

    Args:
        folder: made where there is none.
        names: of the files that may come.
        source: as for `check_target`, by which all of these are looked at.
        tokenizer: likewise.

    Raises:
        FileError: a file would replace what is to be read.
        WriteError: the folder or a file in it cannot be written.
    """
    with making_parents(folder):
        for name in names:
            check_target(folder / name, source, tokenizer)
        with temporary_folder(folder / "unfinished") as part:
            yield part
            for path in sorted(part.iterdir()):
                with replacing(folder / path.name) as temporary:
                    shutil.move(path, temporary)
