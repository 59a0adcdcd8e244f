"""Pictures come out as they are shown: the shape of pixels, levels of deep and resized pictures, colours."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.bitstream import BitStreamFilterContext
from av.video.stream import VideoStream
from PIL import Image, ImageOps

from evatok.codec.files import decode_file, encode_file
from evatok.data.folders import FolderConfig, FolderSource
from evatok.data.prepare.scanning import decode_whole
from evatok.tokenizer.lengths import LengthRequest
from evatok.video.reading import VideoError, VideoReader, probe, read_clip, read_video
from tests.video.videos import encode, moving_bar


def shown_aspect(path: Path) -> Fraction:
    """Width to height as a player shows it."""
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        return Fraction(stream.width, stream.height) * (stream.sample_aspect_ratio or 1)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (Fraction(32, 27), (48, 85)),
        (Fraction(8, 9), (48, 64)),
        (Fraction(64, 45), (48, 102)),
        (Fraction(1, 2), (48, 36)),
        (Fraction(1), (48, 72)),
    ],
)
def test_pixels_that_are_not_square(tmp_path: Path, suffix: str, aspect: Fraction, size: tuple[int, int]) -> None:
    path = encode(tmp_path / f"a{suffix}", moving_bar(8, 48, 72), pixel_aspect=aspect)
    assert probe(path).size == size
    assert read_video(path).frames.shape == (8, 3, *size)
    assert read_clip(path, 2, 3).shape == (3, 3, *size)
    encode_file(path, tmp_path / "a.tokens", "evatok-tiny-proxy", LengthRequest(uniform=8))
    record = decode_file(tmp_path / "a.tokens", tmp_path / "back.mp4").videos[0]
    assert record.size == size
    assert shown_aspect(tmp_path / "back.mp4") == shown_aspect(path) == Fraction(72, 48) * aspect


def test_pixels_that_are_not_square_in_a_turned_video(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", moving_bar(4, 48, 72), pixel_aspect=Fraction(32, 27), turn=90)
    info = probe(path)
    assert info.size == (85, 48)
    assert Fraction(info.size[1], info.size[0]) * info.pixel_aspect == Fraction(9, 16)


def test_a_shape_that_no_pixel_has_is_ignored(tmp_path: Path) -> None:
    assert probe(encode(tmp_path / "a.mkv", moving_bar(2), pixel_aspect=Fraction(1000, 1))).size == (48, 64)


LEVELS = [16, 17, 30, 64, 100, 128, 160, 200, 234, 235]


@pytest.mark.parametrize(
    ("pixels", "bits"),
    [("yuv420p", 8), ("yuv420p10le", 10), ("yuv422p10le", 10), ("yuv444p10le", 10), ("yuv420p12le", 12)],
)
@pytest.mark.parametrize("size", [(48, 64), (45, 63)])
def test_grey_levels_are_exact_to_one(tmp_path: Path, pixels: str, bits: int, size: tuple[int, int]) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        stream.codec_context.colorspace = stream.codec_context.color_range = 1
        for number, level in enumerate(LEVELS):
            frame = av.VideoFrame(size[1], size[0], pixels)
            kind = np.uint16 if bits > 8 else np.uint8
            for place, plane in enumerate(frame.planes):
                value = (128 if place else level) << bits - 8
                plane.update(np.full(plane.buffer_size // kind().itemsize, value, kind).tobytes())
            frame.pts, frame.time_base, frame.colorspace, frame.color_range = number, Fraction(1, 25), 1, 1
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    exact = (torch.tensor(LEVELS) - 16) / 219 * 255
    whole = read_video(path).frames[:, :, 10, 10].float()
    assert float((whole - exact[:, None]).abs().max()) <= 1
    for smaller in ((24, 32), (96, 128)):
        with VideoReader(path, size=smaller) as reader:
            resized = torch.stack([frame[:, 10, 10] for frame, _ in reader]).float()
        assert float((resized - exact[:, None]).abs().max()) <= 1


@pytest.mark.parametrize(("pixels", "bits"), [("gray", 8), ("gray10le", 10), ("gray12le", 12)])
@pytest.mark.parametrize(("limits", "shown"), [(1, [0, 128, 255]), (2, [16, 126, 235])])
def test_grey_of_either_range(tmp_path: Path, pixels: str, bits: int, limits: int, shown: list[int]) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width, stream.pix_fmt = 48, 64, pixels
        stream.codec_context.color_range = limits
        for number, level in enumerate((16, 126, 235)):
            frame = av.VideoFrame(64, 48, pixels)
            kind = np.uint16 if bits > 8 else np.uint8
            frame.planes[0].update(
                np.full((48, frame.planes[0].line_size // kind().itemsize), level << bits - 8, kind).tobytes()
            )
            frame.pts, frame.time_base, frame.color_range = number, Fraction(1, 25), limits
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    levels = read_video(tmp_path / "a.mkv").frames[:, 0, 20, 20].tolist()
    assert levels == pytest.approx(shown, abs=1)


def filtered(source: Path, target: Path, bitstream_filter: str) -> Path:
    """A copy whose packets go through one of FFmpeg's bitstream filters."""
    with av.open(str(source)) as given, av.open(str(target), "w") as out:
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream)
        change = BitStreamFilterContext(bitstream_filter, stream, copy)
        for packet in given.demux(stream):
            for changed in change.filter(packet if packet.dts is not None else None):
                changed.stream = copy
                out.mux(changed)
    return target


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_of_photographs(tmp_path: Path, orientation: int) -> None:
    picture = Image.fromarray(moving_bar(1)[0].permute(1, 2, 0).numpy())
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
    with Image.open(tmp_path / "a.jpg") as saved:
        expected = torch.from_numpy(np.array(ImageOps.exif_transpose(saved).convert("RGB"))).permute(2, 0, 1)
    frames = read_video(tmp_path / "a.jpg").frames
    assert frames.shape == (1, *expected.shape)
    assert float((frames[0].float() - expected.float()).abs().mean()) < 4


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turn_that_is_said_at_key_frames_lasts(tmp_path: Path, turn: int) -> None:
    plain = encode(tmp_path / "plain.mp4", moving_bar(12), options={"g": "6", "bf": "0", "sc_threshold": "0"})
    path = filtered(plain, tmp_path / "a.mp4", f"h264_metadata=display_orientation=insert:rotate={turn}")
    expected = torch.rot90(read_video(plain).frames, turn // 90, (2, 3))
    assert torch.equal(read_video(path).frames, expected)
    assert torch.equal(read_clip(path, 3, 3), expected[3:6])
    assert torch.equal(read_clip(path, 8, 2), expected[8:10])
    assert probe(path).size == tuple(expected.shape[-2:])


def test_colours_that_cannot_be_converted(tmp_path: Path) -> None:
    good = encode(tmp_path / "good.mp4", moving_bar(20))
    for matrix in (8, 10, 14, 15):
        path = filtered(good, tmp_path / "odd.mp4", f"h264_metadata=matrix_coefficients={matrix}")
        for use in (read_video, lambda path: read_clip(path, 0, 4), decode_whole):
            with pytest.raises(VideoError, match=r"odd\.mp4': its colours cannot be converted"):
                use(path)
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(9):
        (videos / f"{number}.mp4").write_bytes((path if number == 4 else good).read_bytes())
    source = FolderSource(FolderConfig(str(videos), max_bad=0.2))
    assert [skipped.path for skipped in source.bad.skipped] == ["4.mp4"]
    assert len(source) == 8
