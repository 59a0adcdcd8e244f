"""The page as it is served: files of visitors, what is not served, a full queue, an address that is taken."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import httpx
import pytest
from gradio_client import Client, handle_file

from evatok.app.comparing import Models
from evatok.app.generating import Generating
from evatok.app.limits import AppLimits
from evatok.app.serving import serve, serving
from evatok.app.showing import Showing, View
from evatok.generator.model import VideoGenerator
from evatok.tokens.tokens import Tokens
from tests.app.small import video_file


@pytest.fixture(scope="module")
def generating() -> Generating:
    return Generating(VideoGenerator.from_pretrained("evatok-tiny-ale"))


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the folder is with all that visitors bring and get."""
    return tmp_path_factory.mktemp("parent")


@pytest.fixture(scope="module")
def served(models: Models, generating: Generating, parent: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(parent))
        with serving(models, generating, port=0, limits=AppLimits(megabytes=1)) as url:
            patch.undo()
            yield url
    assert not list(parent.iterdir())


def client(served: str, folder: Path) -> Client:
    return Client(served, verbose=False, analytics_enabled=False, download_files=str(folder))


def answers(one: Client, *given: object, to: str) -> list[str]:
    """All that a visitor is shown one after the other: HTML, and paths of files."""
    return [_plain(part) for answer in one.submit(*given, api_name=to) for part in answer]


def _plain(part: object) -> str:
    """Of a file its path, however the client wraps it."""
    while isinstance(part, dict):
        part = part.get("value", part.get("video"))
    return str(part or "")


def test_a_video_from_upload_to_tokens(served: str, models: Models, tmp_path: Path) -> None:
    path = video_file(tmp_path, 20)
    shown = answers(client(served, tmp_path), handle_file(path), 1.9, to="/video")
    assert any("20 frames, 1.2 s" in each for each in shown)
    (file,) = (each for each in shown if each.endswith(".tokens"))
    assert Tokens.load(file) == models.tokenizer.encode(path, w_q=1.9)


def test_a_broken_file_and_one_that_is_too_large(served: str, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 999)
    shown = answers(client(served, tmp_path), handle_file(tmp_path / "broken.mp4"), 1.2, to="/video")
    assert any("broken.mp4 cannot be shown" in each for each in shown)
    (tmp_path / "large.mp4").write_bytes(b"\0" * (2**20 + 2**16))
    with pytest.raises(Exception, match=r"413|exceed"):
        client(served, tmp_path).predict(handle_file(tmp_path / "large.mp4"), 1.2, api_name="/video")


def test_no_file_elsewhere_is_served_or_read(served: str, parent: Path, tmp_path: Path) -> None:
    one = client(served, tmp_path)
    answers(one, handle_file(video_file(tmp_path, 5, "secret.mp4")), 1.2, to="/video")
    (theirs,) = parent.glob("*/visitors/*/*/secret.tokens")
    for path in (theirs, "/etc/passwd", Path(__file__), theirs.parents[2], "https://example.com/"):
        assert httpx.get(f"{served}gradio_api/file={path}").status_code == 403
    (tmp_path / "local.mp4").write_bytes(b"\0")
    for path in (theirs, tmp_path / "local.mp4", "https://example.com/video.mp4"):
        given = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
        event = httpx.post(f"{served}gradio_api/call/video", json={"data": [given, 1.2]}).json()["event_id"]
        answer = httpx.get(f"{served}gradio_api/call/video/{event}", timeout=30).text
        assert "event: error" in answer and "frames" not in answer and "cannot be shown" not in answer


def test_visitors_do_not_share(served: str, tmp_path: Path) -> None:
    first, second = client(served, tmp_path), client(served, tmp_path)
    answers(first, handle_file(video_file(tmp_path, 8)), 1.2, to="/video")
    assert any("8 frames" in each for each in answers(first, 1.0, to="/preference"))
    assert not any(answers(second, 1.0, to="/preference"))


def test_a_full_queue_says_so(
    models: Models, generating: Generating, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go_on, begun = Event(), Event()

    def slow(self: Showing, *given: object) -> Iterator[View]:
        begun.set()
        go_on.wait(30)
        yield View()

    monkeypatch.setattr(Showing, "priced", slow)
    with serving(models, generating, port=0, limits=AppLimits(waiting=1)) as served:
        jobs = [client(served, tmp_path).submit(1.0, api_name="/preference")]
        assert begun.wait(30)
        try:
            jobs.append(client(served, tmp_path).submit(1.0, api_name="/preference"))
            third = client(served, tmp_path)
            with pytest.raises(Exception, match=r"[Qq]ueue is full"):
                for _ in range(9):
                    third.submit(1.0, api_name="/preference").result(timeout=2)
        finally:
            go_on.set()


def test_an_address_that_is_taken_is_told_before_models_are_loaded() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"nothing can listen at 127.0.0.1:{port}"):
            serve("nowhere", "127.0.0.1", port)
