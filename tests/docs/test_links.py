"""Links of the pages lead somewhere, as they are read on a code host: to files, and to headings of pages."""

from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, anchors_of, links_of

CARDS = sorted((ROOT / "src" / "evatok" / "weights").rglob("README.md"))


def broken_links(page: Path) -> list[str]:
    """Links of a page that lead to no file, or to no heading of one; those that leave the project are not looked at."""
    broken = []
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" not in link and (not target.exists() or (anchor and anchor not in anchors_of(target))):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", [*PAGES, *CARDS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A heading, `code` in it\n")
    good = "[a](other.md) [b](other.md#a-heading-code-in-it) [c](https://nowhere.invalid/x)"
    (tmp_path / "page.md").write_text(f"{good} [d](nowhere.md) [e](other.md#nothing) [f](#none) ![g](p.png)\n")
    assert broken_links(tmp_path / "page.md") == ["nowhere.md", "other.md#nothing", "#none", "p.png"]


def test_every_page_is_within_reach() -> None:
    """From the README by links, and on the site by its table of contents."""
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        linked = ((page.parent / link.partition("#")[0]).resolve() for link in links_of(page) if "://" not in link)
        waiting += [each for each in linked if each in DOCS and each not in reached]
    assert set(DOCS) - reached <= {ROOT / "docs" / "index.md"}
