"""Debian's machine-readable copyright files: who made a file of a package, and under which licence."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Terms:
    """What a copyright file says of some files; `patterns` are theirs, in the package's source."""

    patterns: tuple[str, ...]
    licence: str
    copyright: str
    comment: str


def read_terms(text: str) -> list[Terms]:
    """The paragraphs of a copyright file that speak of files, in their order."""
    # A paragraph is written as the header of a mail is.
    paragraphs = [HeaderParser().parsestr(paragraph) for paragraph in re.split(r"\n\n+", text.lstrip("\n"))]
    return [
        Terms(
            patterns=tuple(found["Files"].split()),
            licence=found.get("License", "").partition("\n")[0].strip(),
            copyright=_one_line(found.get("Copyright", "")),
            comment=_one_line(found.get("Comment", "")),
        )
        for found in (dict(paragraph.items()) for paragraph in paragraphs)
        if "Files" in found
    ]


def terms_of(path: str, terms: Sequence[Terms]) -> Terms | None:
    """The terms of a file of the source: as the format has it, the last that fit.

    Suffixes do not count: some packages convert their pictures.
    """
    fitting = [found for found in terms if any(fnmatchcase(_bare(path), _bare(pattern)) for pattern in found.patterns)]
    return fitting[-1] if fitting else None


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _bare(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0] or name}"
