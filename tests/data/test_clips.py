"""Random training clips and fixed validation clips, over sources whose pixels tell where they are from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evatok.data.clip_source import ClipSource, VideoEntry, check_range
from evatok.data.clips import (
    ClipBatch,
    ClipSamplerConfig,
    FixedClips,
    TrainingClips,
    centre_box,
    crop_and_resize,
    held_out_clips,
)
from evatok.data.folders import FolderConfig, FolderSource
from evatok.data.loading import loader
from evatok.data.quarantine import TooManyBadVideos
from evatok.video.reading import VideoError

SQUARE = ClipSamplerConfig(frames=4, sizes=[(8, 8)], size_weights=[1.0])


class Plain(ClipSource):
    """Videos whose pixels tell where they come from: red is the frame, green the row, blue the column."""

    def __init__(
        self, name: str, lengths: list[int], size: tuple[int, int] = (20, 30), classes: tuple[str, ...] = ()
    ) -> None:
        self.name, self.classes = name, classes
        self._lengths, self._size = lengths, size
        self.broken: set[int] = set()

    def __len__(self) -> int:
        return len(self._lengths)

    def describe(self, index: int) -> VideoEntry:
        label = index % len(self.classes) if self.classes else -1
        return VideoEntry(f"v{index}", label, self._lengths[index], self._size)

    def identities(self, index: int) -> tuple[str, ...]:
        return (f"fake:{self.name}/{index}",)

    def read(self, index: int, start: int, count: int, step: int) -> Tensor:
        check_range(self.describe(index), start, count, step)
        if index in self.broken:
            raise VideoError(f"v{index} is broken")
        height, width = self._size
        video = torch.empty(count, 3, height, width, dtype=torch.uint8)
        video[:, 0] = torch.arange(start, start + count * step, step)[:, None, None]
        video[:, 1] = 5 * torch.arange(height)[:, None]
        video[:, 2] = 5 * torch.arange(width)
        return video


def held_out(source: Plain, count: int, size: tuple[int, int], frames: int, step: int = 1) -> ClipBatch:
    return held_out_clips([source], count, size, frames, step)[source.name]


def clips_of(source: Plain, config: ClipSamplerConfig = SQUARE, seed: int = 0, group: int = 4) -> TrainingClips:
    return TrainingClips([source], [1.0], config, group_size=group, seed=seed)


def assert_same(one: ClipBatch, other: ClipBatch) -> None:
    assert one.keys == other.keys
    assert torch.equal(one.video, other.video)
    assert torch.equal(one.labels, other.labels)


def test_a_group_has_one_size_and_the_right_types() -> None:
    clips = clips_of(Plain("plain", [40, 50], classes=("a", "b")), ClipSamplerConfig(frames=4), group=3)
    seen = set()
    for index in range(30):
        batch = clips[index]
        assert len(batch) == 3 and len(batch.keys) == 3
        assert batch.video.shape[:3] == (3, 4, 3) and batch.video.dtype == torch.uint8
        assert batch.labels.shape == (3,) and batch.labels.dtype == torch.int64
        seen.add(tuple(batch.video.shape[3:]))
    assert seen == {(64, 64), (48, 88), (56, 72), (72, 56)}


def test_an_item_is_a_function_of_seed_and_number() -> None:
    clips = clips_of(Plain("plain", [40, 50]))
    first = clips[7]
    clips[3]
    torch.rand(1)
    assert_same(first, clips[7])
    assert_same(first, clips_of(Plain("plain", [40, 50]))[7])
    assert first.keys != clips[8].keys
    assert first.keys != clips_of(Plain("plain", [40, 50]), seed=1)[7].keys


def test_workers_change_neither_order_nor_content() -> None:
    clips = clips_of(Plain("plain", [40, 50]))
    state = torch.get_rng_state()
    alone = list(loader(clips, range(7)))
    together = list(loader(clips, range(7), workers=2))
    resumed = list(loader(clips, range(4, 7), workers=2))
    every_third = list(loader(clips, range(1, 7, 3)))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(alone) == len(together) == 7
    for index, batch in enumerate(alone):
        assert_same(batch, clips[index])
        assert_same(batch, together[index])
    for batch, again in zip(resumed, alone[4:], strict=True):
        assert_same(batch, again)
    assert [batch.keys for batch in every_third] == [alone[1].keys, alone[4].keys]


def test_keys_say_where_the_frames_come_from() -> None:
    clips = clips_of(Plain("plain", [40, 50]))
    steps, mirrored = set(), 0
    for index in range(20):
        batch = clips[index]
        for clip, key in zip(batch.video, batch.keys, strict=True):
            video, _, rest = key.partition("@")
            start, _, step = rest.removesuffix(" mirrored").partition("+")
            assert video in ("plain:v0", "plain:v1")
            assert clip[:, 0, 0, 0].tolist() == [int(start) + frame * int(step) for frame in range(4)]
            columns = clip[0, 2, 0].int()
            assert bool(columns[0] > columns[-1]) == key.endswith(" mirrored")
            steps.add(int(step))
            mirrored += key.endswith(" mirrored")
    assert steps == {1, 2, 3}
    assert 20 < mirrored < 60


def test_crops_keep_the_aspect_ratio_and_the_range_of_scales() -> None:
    config = ClipSamplerConfig(
        frames=1,
        sizes=[(8, 16)],
        size_weights=[1.0],
        frame_strides=[1],
        stride_weights=[1.0],
        scale=(0.5, 0.9),
        mirror=0,
    )
    clips = clips_of(Plain("plain", [10], size=(40, 48)), config, group=100)
    video = clips[0].video[:, 0].float() / 5
    heights = (video[:, 1, -1, 0] - video[:, 1, 0, 0]) * 8 / 7
    widths = (video[:, 2, 0, -1] - video[:, 2, 0, 0]) * 16 / 15
    largest_width = 48.0
    assert (widths >= 0.5 * largest_width - 2).all() and (widths <= 0.9 * largest_width + 2).all()
    assert widths.max() - widths.min() > 10
    assert ((widths / heights - 2).abs() < 0.3).all()
    tops = video[:, 1, 0, 0]
    assert tops.min() < 4 and tops.max() > 12


def test_a_crop_is_not_enlarged_where_the_source_is_large_enough() -> None:
    config = replace(SQUARE, sizes=[(16, 16)], scale=(0.1, 0.1), mirror=0.0)
    video = clips_of(Plain("plain", [10], size=(20, 30)), config)[0].video
    assert ((video[..., 1, 1:, :].int() - video[..., 1, :-1, :].int()) == 5).all()
    enlarged = clips_of(Plain("plain", [10], size=(10, 10)), config)[0].video
    assert enlarged.shape == (4, 4, 3, 16, 16)


def test_short_videos_take_smaller_steps_or_are_left_out() -> None:
    config = replace(SQUARE, frame_strides=[3], stride_weights=[1.0])
    batch = clips_of(Plain("plain", [4, 3, 8]), config, group=64)[0]
    keys = {key.removesuffix(" mirrored") for key in batch.keys}
    assert "plain:v0@0+1" in keys
    assert {key for key in keys if key.startswith("plain:v2")} == {"plain:v2@0+2", "plain:v2@1+2"}
    assert not any(key.startswith("plain:v1") for key in keys)
    with pytest.raises(ValueError, match="plain has no video of at least 4 frames"):
        clips_of(Plain("plain", [3, 2]), config)


def test_videos_are_drawn_by_their_length_and_sources_by_their_weight() -> None:
    sources = [Plain("one", [13, 33]), Plain("two", [100])]
    clips = TrainingClips(sources, [1, 3], SQUARE, group_size=400, seed=0)
    keys = clips[0].keys
    assert 60 < sum(key.startswith("one:") for key in keys) < 140
    share = sum(key.startswith("one:v1") for key in keys) / sum(key.startswith("one:") for key in keys)
    assert 0.6 < share < 0.9


def test_labels_count_the_classes_of_all_sources() -> None:
    sources = [
        Plain("one", [9, 9], classes=("a", "b")),
        Plain("none", [9]),
        Plain("two", [9], classes=("c",)),
    ]
    clips = TrainingClips(sources, [1, 1, 1], SQUARE, group_size=64, seed=0)
    assert clips.classes == ("a", "b", "c")
    batch = clips[0]
    expected = {"one:v0": 0, "one:v1": 1, "none:v0": -1, "two:v0": 2}
    assert batch.labels.tolist() == [expected[key.partition("@")[0]] for key in batch.keys]


def test_a_clip_that_cannot_be_read_is_replaced_and_the_others_stay() -> None:
    source = Plain("plain", [40, 50])
    before = clips_of(source, group=16)[0]
    source.broken = {1}
    clips = clips_of(source, group=16)
    after = clips[0]
    bad = [key.startswith("plain:v1") for key in before.keys]
    assert any(bad) and not all(bad)
    assert all(key.startswith("plain:v0") for key in after.keys)
    for place, was_bad in enumerate(bad):
        if not was_bad:
            assert after.keys[place] == before.keys[place]
    assert_same(after, clips[0])
    source.broken = {0, 1}
    with pytest.raises(VideoError, match=r"16 draws in a row .* cannot be read; the last: v[01] is broken"):
        clips[0]


def test_validation_clips_are_spread_over_the_videos() -> None:
    source = Plain("plain", [40] * 3 + [5] + [40] * 6, classes=("a", "b"))
    batch = held_out(source, count=3, size=(8, 12), frames=4, step=2)
    assert [key.partition("@")[0] for key in batch.keys] == ["plain:v1", "plain:v5", "plain:v8"]
    assert batch.labels.tolist() == [1, 1, 0]
    assert batch.video.shape == (3, 4, 3, 8, 12)
    assert (batch.video[:, 1:, 0].int() - batch.video[:, :-1, 0].int() == 2).all()
    assert_same(batch, held_out(source, count=3, size=(8, 12), frames=4, step=2))
    several = held_out(source, count=30, size=(8, 12), frames=4)
    assert len({key.partition("@")[0] for key in several.keys}) == 10
    assert len(set(several.keys)) > 20
    with pytest.raises(ValueError, match="at least 41 frames"):
        held_out(source, count=1, size=(8, 8), frames=41)


def test_the_next_video_stands_in_for_one_that_breaks() -> None:
    source = Plain("plain", [40] * 6, classes=("a", "b"))
    whole = held_out(source, 6, (8, 12), 4)
    source.broken = {1, 4, 5}
    batch = held_out(source, 6, (8, 12), 4)
    videos = [key.partition("@")[0].removeprefix("plain:v") for key in batch.keys]
    assert videos == ["0", "2", "2", "3", "0", "0"] and batch.labels.tolist() == [0, 0, 0, 1, 0, 0]
    assert [key.partition("@")[2] for key in batch.keys] == [key.partition("@")[2] for key in whole.keys]
    assert_same(batch, held_out(source, 6, (8, 12), 4))
    for index in (0, 2, 3):
        assert torch.equal(batch.video[index], whole.video[index])
    with pytest.raises(VideoError, match="v4 is broken"):
        FixedClips(source, 6, (8, 12), 4)[4]  # which search counts as a clip that is not there
    source.broken = set(range(6))
    with pytest.raises(VideoError, match="is broken"):
        held_out(source, 6, (8, 12), 4)


def test_held_out_videos_that_break_are_named_and_may_not_be_many(
    video_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lenient, strict = (FolderSource(FolderConfig(str(video_folder), max_bad=share)) for share in (0.5, 0.4))
    (video_folder / "1.mp4").write_bytes(b"another size")
    batch = held_out_clips([lenient], 4, (8, 8), 4)["videos"]
    assert [key.partition("@")[0] for key in batch.keys] == ["videos:0.mp4"] * 4
    assert caplog.text.count("videos: cannot read 1.mp4: it has 12 bytes, and had ") == 1
    with pytest.raises(TooManyBadVideos, match=r"1 of the 2 videos .* 1\.mp4 \(it has 12 bytes"):
        held_out_clips([strict], 4, (8, 8), 4)


def test_the_centre_crop_is_the_largest_of_its_aspect_ratio() -> None:
    assert centre_box((20, 30), (8, 8)) == (0, 5, 20, 20)
    assert centre_box((20, 30), (8, 24)) == (5, 0, 10, 30)
    assert centre_box((6, 9), (12, 12)) == (0, 1, 6, 6)


def test_resizing_averages_over_the_pixels_that_vanish() -> None:
    checks = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 200
    video = checks.to(torch.uint8).expand(2, 3, 32, 32)
    small = crop_and_resize(video, (0, 0, 32, 32), (8, 8))
    assert small.dtype == torch.uint8
    assert (small.int() - 100).abs().max() <= 3
    assert torch.equal(crop_and_resize(video, (4, 5, 8, 8), (8, 8)), video[..., 4:12, 5:13])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"frames": 0}, "frames"),
        ({"sizes": []}, "sizes"),
        ({"sizes": [(0, 8)]}, "sizes"),
        ({"size_weights": [1.0, 2.0]}, "size_weights"),
        ({"frame_strides": [0]}, "frame_strides"),
        ({"stride_weights": [0.0, 0.0, 0.0]}, "stride_weights"),
        ({"scale": (0.5, 1.5)}, "scale"),
        ({"mirror": 2.0}, "mirror"),
    ],
)
def test_configs_are_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SQUARE, **change)  # type: ignore[arg-type]


def test_wrong_arguments_of_training_clips() -> None:
    source = Plain("plain", [40])
    with pytest.raises(ValueError, match="differ in name"):
        TrainingClips([source, source], [1, 1], SQUARE, 4, 0)
    with pytest.raises(ValueError, match="weights"):
        TrainingClips([source], [1, 1], SQUARE, 4, 0)
    with pytest.raises(ValueError, match="group_size"):
        TrainingClips([source], [1], SQUARE, 0, 0)
    with pytest.raises(ValueError, match="seed"):
        TrainingClips([source], [1], SQUARE, 4, -1)
