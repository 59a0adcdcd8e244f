"""The web demo in a real browser: Debian's chromium, driven by Playwright; skipped where there is none."""

import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserType, Error, Page, expect, sync_playwright

from evatok.app.generating import Generating
from evatok.app.serving import serving
from evatok.generator.model import VideoGenerator
from evatok.tokens.tokens import Tokens
from tests.app.small import small_models, video_file
from tests.browser.ending import browsers, ended_after

CHROMIUM = shutil.which("chromium")
ENDED = "has been closed"  # as Playwright says it of a browser that was killed
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium"),
    # A browser that hangs, which is seldom, says nothing of the page: another one is asked, once.
    pytest.mark.flaky(reruns=1, only_rerun=[ENDED, "[Tt]imeout"]),
]
PATIENCE = 60_000  # milliseconds: a machine may have much else to do
A_TEST = 240  # seconds
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    generating = Generating(VideoGenerator.from_pretrained("evatok-tiny-ale"))
    with serving(small_models(), generating, port=0) as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[BrowserType]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        yield playwright.chromium


def launched(chromium: BrowserType) -> Browser:
    return chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


@pytest.fixture
def browser(chromium: BrowserType) -> Iterator[Browser]:
    with ended_after(A_TEST), launched(chromium) as browser:
        yield browser


@pytest.fixture
def visitor(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Opens the page as somebody new; whatever the page asks of other machines fails the test."""
    elsewhere: list[str] = []

    def opened(size: dict[str, int] = DESKTOP) -> Page:
        page = browser.new_page(viewport=size)  # type: ignore[arg-type]
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: elsewhere.append(request.url))
        page.goto(url)
        expect(page.locator("#upload input[type=file]")).to_be_attached()
        return page

    yield opened
    assert [each for each in elsewhere if not each.startswith((url, "data:", "blob:"))] == []


def upload(page: Page, path: Path) -> None:
    page.set_input_files("#upload input[type=file]", path)


def downloaded(page: Page, button: str, to: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).locator("visible=true").click()
    download.value.save_as(to)
    return to


def expect_line_in_the_middle(page: Page) -> None:
    page.locator("#comparison video").evaluate("video => { video.pause(); video.currentTime = 1.0; }")
    page.wait_for_function("""() => {
        const line = document.querySelector(".playhead"), {left, right} = line.dataset;
        return Math.abs((line.getAttribute("x1") - left) / (right - left) - 0.5) < 0.02;
    }""")


def test_an_upload_the_slider_and_the_downloads(visitor: Callable[..., Page], tmp_path: Path) -> None:
    page = visitor()
    upload(page, video_file(tmp_path, 80))
    expect(page.locator("#status")).to_contain_text("mine.mp4: 80 frames, 5.0 s")
    expect(page.locator("#scores tbody tr")).to_have_count(3)
    expect(page.locator("#bars rect")).to_have_count(20)
    expect(page.locator("#curve .picks li")).to_have_count(4)
    expect(page.locator("#curve g.every circle")).to_have_count(16)
    length = page.locator("#comparison video").evaluate("video => video.duration")
    assert length == pytest.approx(5.0, abs=0.1)

    slider = page.locator("#w_q input[type=range]")
    slider.focus()
    slider.press("End")  # the most tokens: 8 for each of 20 blocks
    expect(page.locator("#scores tbody td").first).to_have_text("160")
    expect(page.locator("#status")).to_contain_text("80 frames, 5.0 s")
    tokens = Tokens.load(downloaded(page, "Download tokens", tmp_path / "got.tokens"))
    assert tokens.num_tokens == 160 and tokens.videos[0].frames == 80
    assert downloaded(page, "Download video", tmp_path / "got.mp4").stat().st_size > 1000


def test_the_line_over_the_bars_goes_with_the_video(visitor: Callable[..., Page], tmp_path: Path) -> None:
    page = visitor()
    upload(page, video_file(tmp_path, 32))
    expect(page.locator("#status")).to_contain_text("32 frames, 2.0 s")
    expect_line_in_the_middle(page)
    slider = page.locator("#w_q input[type=range]")
    slider.focus()
    slider.press("End")
    expect(page.locator("#scores tbody td").first).to_have_text("64")
    expect(page.locator("#status")).to_contain_text("32 frames, 2.0 s")
    expect_line_in_the_middle(page)


def test_generated_videos_come_as_they_are_ready(visitor: Callable[..., Page], tmp_path: Path) -> None:
    page = visitor()
    page.get_by_role("tab", name="Generate").click()
    # Asking now and then would miss what is shown for less than a second.
    page.evaluate("""() => {
        window.waiting = [];
        const count = () => window.waiting.push(document.querySelectorAll("#generated figure.waiting").length);
        new MutationObserver(count).observe(document.querySelector("#generated"), {childList: true, subtree: true});
    }""")
    page.locator("#generate").click()
    expect(page.locator("#generated-status")).to_contain_text(re.compile(r"4 videos, \d+ tokens each"))
    expect(page.locator("#generated figure video")).to_have_count(4)
    assert set(page.evaluate("window.waiting")) & {1, 2, 3}
    assert page.locator("#generated video").first.evaluate("video => video.videoWidth") == 64
    assert len(Tokens.load(downloaded(page, "Download tokens", tmp_path / "made.tokens"))) == 4


def test_a_broken_file_is_a_sentence_and_the_next_one_is_shown(visitor: Callable[..., Page], tmp_path: Path) -> None:
    page = visitor()
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 1000)
    upload(page, tmp_path / "broken.mp4")
    expect(page.get_by_role("alert")).to_contain_text("broken.mp4 cannot be shown")
    assert "Traceback" not in page.content()
    page.locator("#upload").get_by_role("button").first.click()
    upload(page, video_file(tmp_path, 16))
    expect(page.locator("#status")).to_contain_text("mine.mp4: 16 frames")


def test_two_visitors_at_once_see_their_own(visitor: Callable[..., Page], tmp_path: Path) -> None:
    first, second = visitor(), visitor()
    upload(first, video_file(tmp_path, 20, "first.mp4"))
    upload(second, video_file(tmp_path, 36, "second.mp4"))
    expect(first.locator("#status")).to_contain_text("first.mp4: 20 frames, 1.2 s")
    expect(second.locator("#status")).to_contain_text("second.mp4: 36 frames, 2.2 s")
    expect(first.locator("#bars rect")).to_have_count(5)
    expect(second.locator("#bars rect")).to_have_count(9)
    assert "second.mp4" not in first.content() and "first.mp4" not in second.content()


def test_a_phone_scrolls_down_alone(visitor: Callable[..., Page], tmp_path: Path) -> None:
    page = visitor(PHONE)
    upload(page, video_file(tmp_path, 16))
    expect(page.locator("#curve .picks li")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for name in ("#comparison video", "#bars svg", "#scores table", "#curve svg"):
        box = page.locator(name).first.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"] and box["width"] > 280


def test_a_browser_that_hangs_is_ended(chromium: BrowserType) -> None:
    with launched(chromium) as browser:
        page = browser.new_page()
        with ended_after(5):
            for process in browsers():
                process.send_signal(signal.SIGSTOP)
            with pytest.raises(Error, match=ENDED):
                page.context.close()
