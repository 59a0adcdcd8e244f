"""What the page shows of a video, step by step."""

from pathlib import Path

import pytest

from evatok.app import showing
from evatok.app.comparing import Models
from evatok.app.limits import AppLimits
from evatok.app.showing import Showing, View
from evatok.app.visit import Visit
from evatok.tokens.tokens import Tokens
from evatok.utils.packages import PackageError
from evatok.video.reading import read_video
from tests.app.small import video_file


@pytest.fixture
def shows(models: Models) -> Showing:
    return Showing(models, AppLimits())


def test_first_clips_then_all_then_others(shows: Showing, visit: Visit, tmp_path: Path) -> None:
    views = list(shows.video(visit, video_file(tmp_path, 80), "mine.mp4", 1.2))
    assert "Reading mine.mp4" in str(views[0].told)
    first, whole = (view for view in views if view.video)
    assert isinstance(whole.video, Path) and isinstance(whole.tokens, Path) and isinstance(first.video, Path)
    both = read_video(whole.video)
    assert len(read_video(first.video).frames) == 64 and len(both.frames) == 80
    assert both.fps == 16 and both.frames.shape[3] > 2 * 200  # original and reconstruction
    assert Tokens.load(whole.tokens).videos[0].frames == 80
    assert str(whole.bars).count("<rect") == 20
    assert [str(view.scores).count("<tr>") for view in views if view.scores] == [2, 2, 3, 4]
    assert "80 frames, 5.0 s, 64×64; the model sees 32×32" in str(views[-1].told)


def test_another_preference_and_the_curve(shows: Showing, visit: Visit, tmp_path: Path) -> None:
    list(shows.video(visit, video_file(tmp_path, 16), "mine.mp4", 1.2))
    curves = [str(view.curve) for view in shows.curve(visit, 1.2)]
    assert "0 of 16" in curves[0] and "8 of 16" in curves[1] and curves[-1].count('class="mark"') == 4
    cheap, *_ = shows.priced(visit, 0.001)
    assert isinstance(cheap.tokens, Path) and Tokens.load(cheap.tokens).assignments == ("4,4,4,4",)
    assert any(view.curve for view in shows.priced(visit, 2.0))


@pytest.mark.parametrize("content", [b"", b"no video at all" * 99])
def test_a_broken_file_is_a_sentence(shows: Showing, visit: Visit, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "<b>broken.mp4"
    path.write_bytes(content)
    last = list(shows.video(visit, path, path.name, 1.2))[-1]
    assert 'role="alert"' in str(last.told) and "&lt;b&gt;broken.mp4 cannot be shown: " in str(last.told)
    assert str(tmp_path) not in str(last.told) and last.video == last.scores == last.curve == ""
    assert list(shows.priced(visit, 1.0)) == list(shows.curve(visit, 1.0)) == [View()]


def test_a_video_that_breaks_half_way_is_a_sentence(shows: Showing, visit: Visit, tmp_path: Path) -> None:
    path = video_file(tmp_path, 80, "cut.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *_, last = shows.video(visit, path, "cut.mkv", 1.2)
    assert 'role="alert"' in str(last.told) and visit.opened is None


def test_pictures_too_small_to_measure(shows: Showing, visit: Visit, tmp_path: Path) -> None:
    import torch

    from evatok.video.reading import write_video

    write_video(tmp_path / "wide.mp4", torch.zeros(4, 3, 16, 256, dtype=torch.uint8), fps=8)
    views = list(shows.video(visit, tmp_path / "wide.mp4", "wide.mp4", 1.2))
    assert "–" in str(views[-2].scores)
    (view,) = shows.curve(visit, 1.2)
    assert "LPIPS needs sides of 32" in str(view.curve)


def test_a_sample_that_is_not_there_is_a_sentence(
    shows: Showing, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> Path:
        raise PackageError("no network")

    monkeypatch.setattr(showing, "sample_path", fail)
    *_, last = shows.sample(visit, "bikes", 1.2)
    assert "could not be fetched" in str(last.told)


def test_a_visit_keeps_few_files_and_ends_with_none(visit: Visit) -> None:
    folders = [visit.new_folder() for _ in range(9)]
    assert [folder.exists() for folder in folders] == [False] * 5 + [True] * 4
    visit.end()
    assert not visit.folder.exists()
