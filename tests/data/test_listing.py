"""What of a folder is a video: links followed, hidden files passed over, every container that FFmpeg knows."""

import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from av.format import ContainerFormat

from evatok.data.folders import FolderConfig, FolderSource
from evatok.data.listing import PICTURE_SUFFIXES, VIDEO_SUFFIXES, files_of, videos_of


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def link(target: Path, name: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    name.symlink_to(target)


def test_folders_and_files_that_are_links_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(tmp_path, "store/golf/a.mp4", "store/golf/deep/b.mp4", "root/run/c.mp4")
    link(tmp_path / "store/golf", root / "golf")
    link(Path("../../store/golf/deep"), root / "swim/relative")
    link(tmp_path / "store/golf/a.mp4", root / "run/d.mp4")
    found = [
        ("golf/a.mp4", "golf"),
        ("golf/deep/b.mp4", "golf"),
        ("run/c.mp4", "run"),
        ("run/d.mp4", "run"),
        ("swim/relative/b.mp4", "swim"),
    ]
    assert videos_of(root) == found
    link(root, tmp_path / "linked root")
    assert videos_of(tmp_path / "linked root") == found


@pytest.mark.parametrize(
    ("links", "found"),
    [
        ({"self": "."}, ["a/b/x.mp4"]),
        ({"a/b/up": "../.."}, ["a/b/x.mp4"]),
        ({"a/b/round": "round"}, ["a/b/x.mp4"]),  # a link to itself, which names no video
        ({"a/one": "../c", "c/other": "../a"}, ["a/b/x.mp4", "c/other/b/x.mp4"]),
    ],
)
def test_a_circle_of_links_ends(links: dict[str, str], found: list[str], tmp_path: Path) -> None:
    put(tmp_path, "a/b/x.mp4")
    for name, target in links.items():
        link(Path(target), tmp_path / name)
    assert [path for path, _ in videos_of(tmp_path)] == found


@pytest.mark.parametrize("again", [Path.symlink_to, Path.hardlink_to])
def test_a_video_of_several_names_is_one_in_each_class(
    again: Callable[[Path, Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "golf/b.mp4", "golf/c.mp4", "run/a.mp4")
    again(tmp_path / "golf/a.mp4", tmp_path / "golf/b.mp4")
    again(tmp_path / "run/b.mp4", tmp_path / "golf/b.mp4")
    link(tmp_path / "golf", tmp_path / "golf again")
    link(tmp_path / "golf", tmp_path / "run/golf")
    with caplog.at_level(logging.WARNING, logger="evatok.data"):
        assert videos_of(tmp_path) == [
            ("golf/a.mp4", "golf"),
            ("golf/c.mp4", "golf"),
            ("golf again/a.mp4", "golf again"),
            ("golf again/c.mp4", "golf again"),
            ("run/a.mp4", "run"),
            ("run/b.mp4", "run"),
            ("run/golf/c.mp4", "run"),
        ]
    assert "left out 4 links to other videos: golf/b.mp4 is golf/a.mp4; " in caplog.text
    assert "run/golf/a.mp4 is run/b.mp4; run/golf/b.mp4 is run/b.mp4" in caplog.text


NO_VIDEOS = "._a.mp4 .a.mp4 .mp4 golf/._b.mp4 __MACOSX/golf/._b.mp4 golf/__MACOSX/b.mp4 .Trash-1000/old.mp4"
NO_VIDEOS += " .cache/part.mp4 $RECYCLE.BIN/$R1.mp4 golf/@eaDir/a.mp4 golf/.git/c.mp4"
NO_VIDEOS += " mp4 mp4.txt a.mp4.part a.mp3 a.srt a.txt a.png a.m4s"


@pytest.mark.parametrize("name", NO_VIDEOS.split())
def test_what_is_hidden_or_no_video_is_passed_over(name: str, tmp_path: Path) -> None:
    put(tmp_path, "golf/a.mp4", name)
    assert videos_of(tmp_path) == [("golf/a.mp4", "golf")]


def test_a_folder_that_is_named_like_a_video_is_looked_into(tmp_path: Path) -> None:
    put(tmp_path, "v_golf.avi/0001.jpg", "v_run.avi/whole.mp4", "empty.mp4/.keep")
    assert videos_of(tmp_path) == [("v_run.avi/whole.mp4", "v_run.avi")]
    assert files_of(tmp_path, {".jpg"}) == ["v_golf.avi/0001.jpg"]


def test_what_is_no_file_is_a_bad_video(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(video_folder / "pipe.mp4")
    link(Path("gone.mp4"), video_folder / "broken.mp4")
    link(Path("round.mp4"), video_folder / "round.mp4")
    monkeypatch.chdir(video_folder)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.mp4")
    source = FolderSource(FolderConfig(str(video_folder), max_bad=0.7))
    assert [source.describe(number).key for number in range(len(source))] == ["0.mp4", "1.mp4"]
    assert {video.path: video.reason for video in source.bad.skipped} == {
        "pipe.mp4": "it is not a file",
        "socket.mp4": "it is not a file",
        "broken.mp4": "there is no such file",
        "round.mp4": "there is no such file",
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "a.mp4", "lost+found/b.mp4")
    (tmp_path / "lost+found").chmod(0)
    with caplog.at_level(logging.WARNING, logger="evatok.data"):
        assert videos_of(tmp_path) == [("a.mp4", "")]
    assert f"cannot look into {tmp_path / 'lost+found'}: Permission denied" in caplog.text


MOVING = (
    "3g2 3gp amv apng asf asf_stream avi dv dvd f4v flv gif gxf h261 h263 h264 hevc ismv ivf m4v matroska mjpeg mov"
)
MOVING += " mp4 mpeg mpeg1video mpeg2video mpegts mxf nut obu ogg ogv rm svcd vc1 vob vvc webm wtv yuv4mpegpipe"
SOUND = {".isma", ".ra", ".wma"}


def test_every_container_that_ffmpeg_writes_pictures_to_is_found() -> None:
    known = {f".{suffix}" for name in MOVING.split() for suffix in ContainerFormat(name, "w").extensions}
    assert len(known) > 50 and known - VIDEO_SUFFIXES == SOUND
    assert {".m2ts", ".divx", ".rmvb", ".264", ".qt"} <= VIDEO_SUFFIXES


def test_sound_text_and_pictures_are_no_videos() -> None:
    still = "adts ac3 aiff ass au caf flac hls image2 microdvd mp2 mp3 oga opus srt sup wav webp webvtt"
    others = {f".{suffix}" for name in still.split() for suffix in ContainerFormat(name, "w").extensions}
    assert not (others | PICTURE_SUFFIXES) & VIDEO_SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in VIDEO_SUFFIXES)


@pytest.mark.parametrize(
    "name", ["a.MP4", "a.Mov", "a.M2TS", "a.rmvb", "a.b.ogv", "a .mkv", "ü.mp4", "a%20b.mp4", "-.mp4"]
)
def test_suffixes_in_any_case_and_any_name(name: str, tmp_path: Path) -> None:
    put(tmp_path, name)
    assert videos_of(tmp_path) == [(name, "")]
