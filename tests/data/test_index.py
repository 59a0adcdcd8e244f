"""Lists of videos as spreadsheets and scripts write them: read right, or refused with the place and what is there."""

import re
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from evatok.data.folders import FolderConfig, FolderSource
from evatok.data.index import read_index

PLAIN = "path,label\n0.mp4,a\ngolf/1.mp4,b\n"
ROWS = [("0.mp4", "a"), ("golf/1.mp4", "b")]

LISTS: dict[str, str | bytes] = {
    "plain": PLAIN,
    "CRLF": PLAIN.replace("\n", "\r\n"),
    "CR": PLAIN.replace("\n", "\r"),
    "no end of line": PLAIN.rstrip(),
    "UTF-8 with its mark": PLAIN.encode("utf-8-sig"),
    "UTF-8 with its mark, label first": "label,path\r\na,0.mp4\r\nb,golf/1.mp4\r\n".encode("utf-8-sig"),
    "UTF-8 with its mark, quotes": '"path","label"\n0.mp4,a\ngolf/1.mp4,b\n'.encode("utf-8-sig"),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-32": PLAIN.encode("utf-32"),
    "spaces": "path, label \n0.mp4 , a\n golf/1.mp4,  b  \n",
    "spaces and quotes": 'path, "label"\n"0.mp4", "a"\n"golf/1.mp4",b\n',
    "capitals": "PATH,Label\n0.mp4,a\ngolf/1.mp4,b\n",
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "bars": PLAIN.replace(",", "|"),
    "a line on the delimiter": "sep=;\n" + PLAIN.replace(",", ";"),
    "a comment": "# made by me\n" + PLAIN,
    "comments and blank lines": "\n# made by me,\n#\n  \n" + PLAIN,
    "rows of commas": "path,label\n0.mp4,a\n,\n\ngolf/1.mp4,b\n,\n,\n",
    "commas at the end": "path,label,\n0.mp4,a,\ngolf/1.mp4,b,,\n",
    "further columns": "frames,path,split,label\n20,0.mp4,,a\n17,golf/1.mp4,test,b\n",
    "this folder": "path,label\n./0.mp4,a\ngolf//1.mp4,b\n",
    "backslashes": "path,label\n.\\0.mp4,a\ngolf\\1.mp4,b\n",
}


@pytest.mark.parametrize("content", LISTS.values(), ids=list(LISTS))
def test_a_list_as_people_have_it(content: str | bytes, tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    assert read_index(tmp_path / "i.csv", tmp_path) == ROWS


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("a b.mp4", "a b.mp4"),
        ('"a, b.mp4"', "a, b.mp4"),
        ('"say ""hi"".mp4"', 'say "hi".mp4'),
        ("#1.mp4", "#1.mp4"),
        ("ü/日本.mp4", "ü/日本.mp4"),
        ("../x.mp4", "../x.mp4"),
        ("/data/x.mp4", "/data/x.mp4"),
        ("file:///data/a%20b.mp4", "/data/a b.mp4"),
        ("file:/data/x.mp4", "/data/x.mp4"),
        ("file://localhost/data/x.mp4", "/data/x.mp4"),
        ("~/x.mp4", "/home/me/x.mp4"),
        ("~x.mp4", "~x.mp4"),
        ("there\\is.mp4", "there\\is.mp4"),
        ("there\\is no.mp4", "there/is no.mp4"),
        ("C:\\videos\\x.mp4", "C:/videos/x.mp4"),
        ("100%.mp4", "100%.mp4"),
    ],
)
def test_paths_of_every_kind(value: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "there\\is.mp4").touch()
    (tmp_path / "i.csv").write_text(f"path\n{value}\n")
    assert read_index(tmp_path / "i.csv", tmp_path) == [(path, "")]
    (tmp_path / "i.csv").write_text(f"label;path\n1;{value}\n")
    assert read_index(tmp_path / "i.csv", tmp_path) == [(path, "1")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n# nothing\n,,\n", "is empty"),
        (b"file,label\n0.mp4,a\n", "has the columns file, label, but 'path' is not among them"),
        (b"0.mp4 a\n1.mp4 b\n", "has the columns 0.mp4 a, but 'path' is not among them"),
        (b"path,label,Path\n0.mp4,a,1.mp4\n", "has 2 columns 'path': path, label, Path"),
        (b"path;label;label\n0.mp4;a;b\n", "has 2 columns 'label': path, label, label"),
        ("path,label\n0.mp4,caf\u00e9\n".encode("latin-1"), r"line 2: b'0.mp4,caf\xe9' is not in UTF-8; save it as"),
        (b"path,label\n0.mp4,a\n\xff\xfe1.mp4,b\n", r"line 3: b'\xff\xfe1.mp4,b' is not in UTF-8"),
        (b"path,label\r0.mp4,caf\xe9\r", r"line 1: b'path,label\r0.mp4,caf\xe9' is not in UTF-8"),
        (b"\xef\xbb\xbfpath,label\r\n0.mp4,caf\xe9\r\n", r"line 2: b'0.mp4,caf\xe9' is not in UTF-8;"),
        (b"\xff\xfep\0a\0t\0h\0\n\0a", "is not in UTF-16"),
        ("path,label\n0.mp4,a\n".encode("utf-16-le"), "line 1: there is a NUL byte"),
        (b"path,label\n0.mp4,a\n1.m\0p4,b\n", "line 3: there is a NUL byte"),
        (b"# me\npath,label\n0.mp4,a\n1.mp4\n", "line 4: there are 1 values, ['1.mp4'], for the columns path, label"),
        (b"path,label\n0.mp4,a,b\n", "line 2: there are 3 values, ['0.mp4', 'a', 'b'], for the columns path, label"),
        (b"path\na, b.mp4\n", "line 2: there are 2 values, ['a', 'b.mp4'], for the columns path; one with ',' in it"),
        (b"path,label\n\n,a\n", "line 3: its path is empty"),
        (b'path,label\n0.mp4,a\n"1.mp4,b\n2.mp4,c\n', "line 3: a value in quotes does not end as it should"),
        (b'path,label\n"1".mp4,b\n2.mp4,c\n', "line 2: a value in quotes does not end as it should"),
        (b'path,label\n0.mp4,"two\nlines"\n,c\n', "line 4: its path is empty"),
        (b"path\ns3://bucket/0.mp4\n", "line 2: 's3://bucket/0.mp4' is an address; an index lists files"),
        (b"path," + b"x" * 200_000, "line 1: the names of its columns cannot be read (field larger than"),
        (b"path,%s\n0.mp4\n" % (b"x" * 2000), "line 2: there are 1 values, ['0.mp4'], for the columns path, xxx"),
        (b"PK\3\4\x14\0\x06\0", "line 1: there is a NUL byte"),
        (b"PAR1 and nothing", "cannot be read as a Parquet file: "),
    ],
)
def test_what_is_wrong_in_a_list_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        FolderSource(FolderConfig(str(tmp_path), index="i.csv"))
    sentence = str(caught.value)
    assert sentence.startswith(f"index {tmp_path / 'i.csv'}") and "\n" not in sentence and len(sentence) < 400


def write_parquet(target: Path, /, **columns: Any) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), target)
    return target


@pytest.mark.parametrize("name", ["i.parquet", "i.PARQUET", "i.pq", "i"])
def test_columns_of_parquet(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "split=train"  # which names no column
    folder.mkdir()
    words = pyarrow.array(["0.mp4", "golf\\1.mp4"]).dictionary_encode()
    written = write_parquet(folder / name, frames=[1, 2], Path=words, label=["a", "b"], more=[[1], []])
    assert read_index(written, tmp_path) == ROWS
    labels: list[tuple[list[Any], list[str]]] = [
        ([3, 4], ["3", "4"]),
        (["x", None], ["x", ""]),
        ([None, None], ["", ""]),
    ]
    labels.append(([float("nan"), 0.5], ["", "0.5"]))
    for given, read in labels:
        listed = read_index(write_parquet(folder / name, path=["0.mp4", "golf/1.mp4"], label=given), tmp_path)
        assert [label for _, label in listed] == read
    assert read_index(write_parquet(folder / name, path=["0.mp4"]), tmp_path) == [("0.mp4", "")]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"path": [7, 8]}, "row 1: its path is 7, which is no text"),
        ({"path": ["0.mp4", None]}, "row 2: its path is None, which is no text"),
        ({"path": ["0.mp4", " "]}, "row 2: its path is empty"),
        ({"path": ["0\0.mp4"]}, r"row 1: its path '0\x00.mp4' has a NUL byte"),
        ({"path": [b"0.mp4"]}, "row 1: its path is b'0.mp4', which is no text"),
        ({"path": ["0.mp4"], "label": [["a", "b"]]}, "row 1: its label is ['a', 'b'], which is neither text nor"),
        ({"file": ["0.mp4"], "label": ["a"]}, "has the columns file, label, but 'path' is not among them"),
        ({"path": ["0.mp4"], "PATH": ["1.mp4"]}, "has 2 columns 'path'"),
    ],
)
def test_what_is_wrong_in_parquet_is_named(columns: dict[str, Any], said: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / "i.parquet", **columns)
    with pytest.raises(ValueError, match=re.escape(f"index {tmp_path / 'i.parquet'}") + ".*" + re.escape(said)):
        FolderSource(FolderConfig(str(tmp_path), index="i.parquet"))


def test_damaged_parquet_and_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    whole = write_parquet(tmp_path / "i.parquet", path=["0.mp4"] * 100, label=list(map(str, range(100)))).read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-9] + b"\xff" * 5 + whole[-4:], b"path,label\n", b""):
        (tmp_path / "i.parquet").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"^index .*i\.parquet cannot be read as a Parquet file: .+$"):
            FolderSource(FolderConfig(str(tmp_path), index="i.parquet"))
    with pytest.raises(ValueError, match=r"^cannot read index .*gone\.csv: No such file or directory$"):
        read_index(tmp_path / "gone.csv", tmp_path)


def test_a_path_that_no_file_can_have_is_one_bad_video(video_folder: Path) -> None:
    (video_folder / "i.csv").write_text(f"path\n0.mp4\n{'x' * 300}.mp4\n0.mp4/1.mp4\n")
    source = FolderSource(FolderConfig(str(video_folder), index="i.csv", max_bad=0.7))
    assert [video.reason for video in source.bad.skipped] == ["there is no such file"] * 2
