"""The site of the pages: it is built without a warning, whole in itself, and has all that can be imported."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from evatok import _public
from tests.docs.pages import DOCS, ROOT


class Page(HTMLParser):
    """What a built page has: `ids` of its elements, `links` that a reader may follow, and what it `loads` by itself."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids, self.links, self.loads = set[str](), list[str](), list[str]()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in ("script", "img", "source") and "src" in values:
            self.loads.append(values["src"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "preload", "icon"):
            self.loads.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; building it fails at the first warning, such as a link to a heading that is not there."""
    folder = tmp_path_factory.mktemp("site")
    words = ["sphinx", "-q", "-W", "--keep-going", "-d", folder / "doctrees", ROOT / "docs", folder / "html"]
    done = subprocess.run([sys.executable, "-m", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_page_is_on_the_site(site: Path) -> None:
    assert {page.stem for page in DOCS} <= {path.stem for path in site.glob("*.html")}


def test_links_of_the_site_lead_somewhere(pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.links:
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file).resolve() if file else path
            if "://" not in link and not (target.exists() and (not anchor or anchor in pages[target].ids)):
                broken.append(f"{path.name}: {link}")
    assert broken == []


def test_the_site_asks_nobody_else_for_anything(pages: dict[Path, Page]) -> None:
    assert [load for page in pages.values() for load in page.loads if "//" in load] == []
    assert sum(len(page.loads) for page in pages.values()) > len(pages)


def test_the_site_has_everything_that_can_be_imported(site: Path, pages: dict[Path, Page]) -> None:
    ids = pages[site / "api.html"].ids
    assert {f"evatok.{name}" for name in _public.__all__} <= ids
    assert {"evatok.VideoTokenizer.encode", "evatok.tokens.token_set.TokenSet.open"} <= ids
