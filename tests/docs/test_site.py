"""The site is whole: it builds without a warning, and its pages need no other site."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
HTML = DOCS / "_build" / "html"

LOADED = {"audio": "src", "iframe": "src", "img": "src", "link": "href", "script": "src"}
"""What a browser fetches by itself, and the attribute that says from where."""


class Fetched(HTMLParser):
    """Collects where a page's parts are."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.places: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        place = dict(attrs).get(LOADED.get(tag, ""))
        if place is not None:
            self.places.append(place)


@pytest.fixture(scope="module")
def site() -> list[Path]:
    """Build the site anew, with warnings as errors, and return its pages."""
    shutil.rmtree(HTML, ignore_errors=True)
    strictly = ["-E", "-n", "-q", "-W", "--keep-going"]
    command = [sys.executable, "-m", "sphinx", *strictly, str(DOCS), str(HTML)]
    build = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (build.returncode, build.stderr)
    return sorted(HTML.rglob("*.html"))


def test_every_page_is_built(site: list[Path]) -> None:
    """Each Markdown page has become one of the site, but for the changes to come."""
    sources = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    pages = {path.relative_to(HTML).with_suffix("") for path in site}

    assert {path for path in sources if path.parts[0] not in {"_build", "changes"}} == {
        path for path in pages if path.stem not in {"genindex", "py-modindex", "search"}
    }


def test_pages_load_nothing_from_elsewhere(site: list[Path]) -> None:
    """Scripts, styles and pictures are the site's own: it can be read without a network."""
    elsewhere = {
        (page.name, place)
        for page in site
        for place in Fetched(page).places
        if re.match(r"(?:\w+:)?//", place)
    }

    assert set() == elsewhere


def test_styles_load_nothing_from_elsewhere(site: list[Path]) -> None:
    """No style sheet imports another, or a font, from a network."""
    sheets = sorted((HTML / "_static").rglob("*.css"))

    assert sheets
    for sheet in sheets:
        assert not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", sheet.read_text()), sheet
