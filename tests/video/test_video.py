"""Video files survive being written and read: frames, times, sizes, rotation; bad files are named as such."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from evatok.video.reading import VideoError, VideoReader, probe, read_clip, read_video, write_video
from tests.video.videos import encode, moving_bar


def distance(left: Tensor, right: Tensor) -> float:
    return float((left.float() - right.float()).abs().mean())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
def test_frames_and_rate_survive(tmp_path: Path, suffix: str) -> None:
    path, video = tmp_path / f"bar{suffix}", moving_bar()
    write_video(path, video, fps=30000 / 1001)
    back = read_video(path)
    assert back.frames.shape == video.shape
    assert back.frames.dtype == torch.uint8
    assert distance(back.frames, video) < 4
    assert back.fps == pytest.approx(30000 / 1001)
    assert back.constant_rate
    assert back.times[0] == 0
    info = probe(path)
    assert info.size == (48, 64)
    assert info.frames in (20, None)
    assert info.seconds == pytest.approx(20 * 1001 / 30000, abs=0.01)
    assert info.codec == ("vp9" if suffix == ".webm" else "h264")


def test_colours_survive(tmp_path: Path) -> None:
    colours = torch.tensor([[200, 30, 30], [30, 200, 30], [30, 30, 200], [128, 128, 128], [255, 255, 0]])
    video = colours.to(torch.uint8).view(5, 3, 1, 1).expand(5, 3, 32, 32)
    write_video(tmp_path / "a.mp4", video, fps=25, crf=5)
    means = read_video(tmp_path / "a.mp4").frames.float().mean((2, 3))
    assert (means - colours).abs().max() <= 3


@pytest.mark.parametrize("size", [(45, 63), (48, 63), (45, 64), (1, 1)])
def test_odd_sizes_survive(tmp_path: Path, size: tuple[int, int]) -> None:
    video = moving_bar(5)[..., : size[0], : size[1]]
    write_video(tmp_path / "odd.mp4", video, fps=25)
    back = read_video(tmp_path / "odd.mp4").frames
    assert back.shape == video.shape
    assert distance(back, video) < 4


def test_frames_are_resized_while_they_are_written(tmp_path: Path) -> None:
    down = torch.linspace(20, 230, 12).view(1, 12, 1).expand(3, 12, 16)
    write_video(tmp_path / "a.mp4", down.round().to(torch.uint8).expand(4, 3, 12, 16), fps=25, size=(96, 128), crf=5)
    back = read_video(tmp_path / "a.mp4").frames
    assert back.shape == (4, 3, 96, 128)
    # Between the centres of the outermost rows the slope goes on as it did.
    expected = torch.linspace(20, 230, 12 * 8 - 7)
    assert (back[0, 1, 4:-3, 64].float() - expected).abs().max() < 5


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_irregular_times_survive(tmp_path: Path, suffix: str) -> None:
    path, video = tmp_path / f"bar{suffix}", moving_bar(12)
    steps = 0.005 + torch.rand(11, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.2
    times = torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(0)])
    write_video(path, video, fps=25, times=times + 3)
    back = read_video(path)
    assert len(back.frames) == 12
    assert (back.times - times).abs().max() < 1e-3
    assert back.fps == pytest.approx(11 / float(times[-1]), rel=1e-3)
    assert not back.constant_rate
    for number in range(12):
        errors = [distance(back.frames[number], picture) for picture in video]
        assert errors.index(min(errors)) == number


def test_times_written_regularly_are_a_constant_rate(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving_bar(10), fps=10, times=[number / 10 for number in range(10)])
    back = read_video(tmp_path / "a.mp4")
    assert back.constant_rate
    assert back.fps == pytest.approx(10, rel=1e-3)


@pytest.mark.parametrize(
    ("turn", "hflip", "vflip"),
    [
        (0, 0, 0),
        (90, 0, 0),
        (180, 0, 0),
        (-90, 0, 0),
        (0, 1, 0),
        (90, 1, 0),
        (-90, 1, 0),
        (0, 0, 1),
        (90, 0, 1),
    ],
)
def test_rotation_and_mirroring_are_applied(tmp_path: Path, turn: int, hflip: bool, vflip: bool) -> None:
    video = moving_bar(4)
    plain = read_video(encode(tmp_path / "plain.mp4", video)).frames
    path = encode(tmp_path / "turned.mp4", video, turn=turn, hflip=hflip, vflip=vflip)
    expected = torch.rot90(plain, turn // 90, (2, 3)).flip([3] * hflip + [2] * vflip)
    assert torch.equal(read_video(path).frames, expected)
    assert torch.equal(read_clip(path, 1, 2), expected[1:3])
    assert probe(path).size == tuple(expected.shape[-2:])
    with VideoReader(path, size=(20, 30)) as reader:
        small, _ = next(reader)
    assert small.shape == (3, 20, 30)
    exact = torch.nn.functional.interpolate(expected[:1].float(), (20, 30), mode="area")[0]
    assert distance(small, exact) < 8


def test_picture_reads_as_one_frame(tmp_path: Path) -> None:
    picture = moving_bar(1)[0]
    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    image.save(tmp_path / "a.png")
    video = read_video(tmp_path / "a.png")
    assert torch.equal(video.frames, picture[None])
    assert video.times.tolist() == [0.0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    image.save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
    turned = read_video(tmp_path / "a.jpg").frames
    assert turned.shape == (1, 3, 64, 48)
    assert distance(turned[0], torch.rot90(picture, -1, (1, 2))) < 4


def test_range_of_seconds(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving_bar(75), fps=25)
    whole = read_video(tmp_path / "a.mp4").frames
    part = read_video(tmp_path / "a.mp4", start=1.0, end=1.4)
    assert torch.equal(part.frames, whole[25:35])
    assert part.times.tolist() == pytest.approx([number / 25 for number in range(10)])
    assert torch.equal(read_video(tmp_path / "a.mp4", start=0.03).frames, whole[1:])
    assert torch.equal(read_video(tmp_path / "a.mp4", end=0.01).frames, whole[:1])
    with pytest.raises(VideoError, match=r"no frame from 9\.0 s"):
        read_video(tmp_path / "a.mp4", start=9)


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi"])
@pytest.mark.parametrize("options", [{}, {"g": "10", "bf": "2", "x264-params": "open-gop=1"}])
def test_range_is_the_same_in_every_container(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    path = encode(tmp_path / f"a{suffix}", moving_bar(60), options=options)
    whole = read_video(path)
    part = read_video(path, start=1.0)
    kept = [number for number, time in enumerate(whole.times.tolist()) if time > 0.999]
    assert torch.equal(part.frames, whole.frames[kept])


def test_resampling_takes_the_nearest_frame_in_time(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, moving_bar(20), fps=25)
    whole = read_video(path).frames
    slower = read_video(path, fps=10)  # 0.8 s: eight slots at 0, 0.1, …; frame 2.5 is a tie, the earlier one wins
    assert slower.times.tolist() == pytest.approx([number / 10 for number in range(8)])
    assert torch.equal(slower.frames, whole[[0, 2, 5, 7, 10, 12, 15, 17]])
    assert slower.fps == 10
    faster = read_video(path, fps=50)
    assert torch.equal(faster.frames[::2], whole)
    assert torch.equal(faster.frames[1::2], whole)
    write_video(path, moving_bar(4), fps=10, times=[0, 0.1, 0.5, 0.6])
    whole = read_video(path).frames
    assert torch.equal(read_video(path, fps=10).frames[:7], whole[[0, 1, 1, 1, 2, 2, 3]])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("rate", [30, 30000 / 1001, 60])
def test_resampling_gives_no_slot_too_many(tmp_path: Path, suffix: str, rate: float) -> None:
    path = tmp_path / f"a{suffix}"
    write_video(path, moving_bar(60), fps=rate)
    for fps in (rate, rate / 2, rate / 20):
        assert len(read_video(path, fps=fps).frames) == round(60 * fps / rate)


@pytest.mark.parametrize("fps", [60, 24, 10, 90])
def test_resampling_is_the_same_in_every_container(tmp_path: Path, fps: float) -> None:
    for suffix in (".mp4", ".mkv"):
        encode(tmp_path / f"a{suffix}", moving_bar(60), options={"bf": "0"}, rate=30)
    assert torch.equal(read_video(tmp_path / "a.mp4", fps=fps).frames, read_video(tmp_path / "a.mkv", fps=fps).frames)


def test_the_last_frame_is_shown_as_long_as_it_says(tmp_path: Path) -> None:
    pictures = [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in moving_bar(4)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[500, 500, 500, 2000])
    assert len(read_video(tmp_path / "a.gif", fps=10).frames) == 35


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_ranges_of_a_fast_video_are_exact_to_the_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_video(path, moving_bar(20), fps=1000)
    whole = read_video(path).frames
    assert torch.equal(read_video(path, start=0.005, end=0.008).frames, whole[5:8])
    assert torch.equal(read_video(path, end=0.001).frames, whole[:1])


def test_stream_without_time_stamps(tmp_path: Path) -> None:
    path = encode(tmp_path / "raw.h264", moving_bar(20), options={"g": "5"})
    back = read_video(path)
    assert len(back.frames) == 20
    assert (back.times.diff() > 0).all()
    assert torch.equal(read_clip(path, 7, 3, 4), back.frames[7:16:4])


CLIP_FILES = {
    "intra.mp4": {"g": "1"},
    "reordered.mp4": {"g": "12", "bf": "3", "b-adapt": "0"},
    "open.mp4": {"g": "8", "bf": "3", "b-adapt": "0", "x264-params": "open-gop=1"},
    "one-key-frame.mov": {"g": "500"},
    "reordered.mkv": {"g": "12", "bf": "3", "b-adapt": "0"},
    "reordered.ts": {"g": "12"},
}


@pytest.mark.parametrize("name", CLIP_FILES)
def test_clip_is_what_a_plain_decode_gives(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, moving_bar(50), options=CLIP_FILES[name])
    whole = read_video(path).frames
    assert len(whole) == 50
    for start in range(0, 48, 3):
        assert torch.equal(read_clip(path, start, 2), whole[start : start + 2])
    assert torch.equal(read_clip(path, 11, 5, 4), whole[11:28:4])
    assert torch.equal(read_clip(path, 49, 1), whole[49:])
    with pytest.raises(VideoError, match="50"):
        read_clip(path, 45, 6)


def test_clip_of_an_irregular_video(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.15, 0.4, 0.5, 0.9, 1.0]
    write_video(tmp_path / "a.mp4", moving_bar(7), fps=10, times=times)
    assert torch.equal(read_clip(tmp_path / "a.mp4", 2, 3), read_video(tmp_path / "a.mp4").frames[2:5])


def test_clip_does_not_decode_what_lies_before_its_key_frame(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", moving_bar(50), options={"g": "10", "bf": "0"})
    whole = read_video(path).frames
    with av.open(str(path)) as container:
        offsets = [entry.pos for entry in container.streams.video[0].index_entries]
    spoilt = bytearray(path.read_bytes())
    spoilt[offsets[1] : offsets[20]] = bytes(offsets[20] - offsets[1])
    path.write_bytes(spoilt)
    assert torch.equal(read_clip(path, 33, 4), whole[33:37])
    with pytest.raises(VideoError):
        read_clip(path, 3, 4)


def test_clip_of_a_given_size(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", moving_bar(10), options={"g": "1"})
    clip = read_clip(path, 2, 3, size=(24, 32))
    exact = torch.nn.functional.interpolate(read_clip(path, 2, 3).float(), (24, 32), mode="area")
    assert clip.shape == (3, 3, 24, 32)
    assert distance(clip, exact) < 4


def write_audio(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_unreadable_files_say_why(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is a text\n" * 50)
    (tmp_path / "text.txt").write_text("this is a text\n" * 50)
    (tmp_path / "folder.mp4").mkdir()
    write_audio(tmp_path / "sound.wav")
    reasons = {
        "absent.mp4": "no such file",
        "empty.mp4": "is empty",
        "text.mp4": "invalid data",
        "text.txt": "a text",
        "folder.mp4": "not a file",
        "sound.wav": "no video stream",
    }
    for name, reason in reasons.items():
        for use in (probe, read_video, lambda path: read_clip(path, 0, 1)):
            with pytest.raises(VideoError, match=reason) as caught:
                use(tmp_path / name)
            assert name in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cut.mp4", "cut.avi"])
def test_a_stream_that_breaks_gives_what_came_before(tmp_path: Path, name: str) -> None:
    avi = name.endswith("avi")
    options = {"g": "5"} if avi else {"g": "5", "movflags": "+faststart"}
    path = tmp_path / name
    if avi:
        encode(path, moving_bar(30), options=options, codec="mjpeg")
    else:
        write_video(path, moving_bar(30), fps=25)
    whole = read_video(path).frames
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    came: list[Tensor] = []
    with pytest.raises(VideoError, match="breaks off"), VideoReader(path) as reader:
        came.extend(picture for picture, _ in reader)
    assert 3 < len(came) < 30
    assert torch.equal(torch.stack(came), whole[: len(came)])


@pytest.mark.parametrize("name", ["a%03d.mp4", "pipe:1.mp4", "with space é.mp4"])
def test_names_are_only_names(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / name, moving_bar(3), fps=25)
    assert len(read_video(tmp_path / name).frames) == 3
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_reader_decodes_as_it_goes_and_closes(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving_bar(20), fps=25)
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert reader.info.size == (48, 64)
        assert [time for (_, time), _ in zip(reader, range(3), strict=False)] == pytest.approx([0, 0.04, 0.08])
    assert list(reader) == []


def test_a_stream_of_pieces_can_be_written(tmp_path: Path) -> None:
    video = moving_bar(10)

    def pieces() -> Iterator[Tensor]:
        yield video[0]
        yield video[1:7]
        yield from video[7:]

    write_video(tmp_path / "pieces.mp4", pieces(), fps=25)
    write_video(tmp_path / "whole.mp4", video, fps=25)
    whole = read_video(tmp_path / "whole.mp4").frames
    assert torch.equal(read_video(tmp_path / "pieces.mp4").frames, whole)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, moving_bar(3), fps=25)
    before = path.read_bytes()

    def broken() -> Iterator[Tensor]:
        yield from moving_bar(10)
        raise KeyError("source")

    with pytest.raises(KeyError):
        write_video(path, broken(), fps=25)
    with pytest.raises(VideoError, match="no frames"):
        write_video(path, [], fps=25)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    video, path = moving_bar(3), tmp_path / "a.mp4"
    with pytest.raises(VideoError, match=r"\.mp4"):
        write_video(tmp_path / "a.xyz", video, fps=25)
    with pytest.raises(VideoError, match="no such folder"):
        write_video(tmp_path / "absent" / "a.mp4", video, fps=25)
    with pytest.raises(TypeError, match="uint8"):
        write_video(path, video.float(), fps=25)
    with pytest.raises(ValueError, match=r"\(3, 48, 3, 64\)"):
        write_video(path, video.permute(0, 2, 1, 3), fps=25)
    with pytest.raises(ValueError, match="size"):
        write_video(path, [video[0], video[1, :, :16]], fps=25)
    with pytest.raises(ValueError, match="fewer"):
        write_video(path, video, fps=25, times=[0.0, 1.0])
    with pytest.raises(ValueError, match="more"):
        write_video(path, video, fps=25, times=[0.0, 1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="strictly increase"):
        write_video(path, video, fps=25, times=[0.0, 1.0, 1.0])
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="fps"):
            write_video(path, video, fps=fps)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [{"start": -1.0}, {"start": 2.0, "end": 1.0}, {"fps": 0.0}, {"size": (0, 4)}, {"end": float("nan")}],
)
def test_senseless_arguments_are_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    write_video(tmp_path / "a.mp4", moving_bar(3), fps=25)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        VideoReader(tmp_path / "a.mp4", **wrong)  # type: ignore[arg-type]
