"""The documentation as a site: built strictly, every page in its navigation, and nothing asked of the network to view it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What a browser fetches by itself, and a link to a page that it does not.
LOADING = {"script", "img", "iframe", "audio", "video", "source", "object", "embed", "link"}
CSS_ADDRESS = re.compile(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//")


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """What `make docs` runs, for the tree at `folder`."""
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def pages_of(nav: Any) -> Iterator[str]:
    """The pages that a navigation names, in order."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(entry)


class Loaded(HTMLParser):
    """The addresses that a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in LOADING:
            self.found += [value or "" for name, value in attrs if name in ("src", "href", "data", "poster")]


def test_every_page_has_a_place_in_the_navigation(site: Path) -> None:
    nav = re.search(r"^nav:.*?(?=^\S)", (ROOT / "mkdocs.yml").read_text() + "end:", re.MULTILINE | re.DOTALL)
    assert nav
    named = list(pages_of(yaml.safe_load(nav[0])["nav"]))
    assert len(named) == len(set(named))
    written = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert written <= set(named)
    assert all((site / page).with_suffix(".html").is_file() for page in named)


def test_a_site_with_a_broken_link_or_anchor_or_a_stray_page_is_not_built(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for entry in ROOT.iterdir():
        if entry.name not in ("docs", "site"):
            (tmp_path / entry.name).symlink_to(entry)
    with (tmp_path / "docs" / "usage.md").open("a") as page:
        page.write("\n[a](nowhere.md) [b](install.md#nowhere) [c](../presets/default.yaml)\n")
    (tmp_path / "docs" / "stray.md").write_text("# Stray\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert "'usage.md' contains a link 'nowhere.md'" in done.stderr
    assert "'usage.md' contains a link 'install.md#nowhere'" in done.stderr
    assert "- stray.md" in done.stderr
    (tmp_path / "docs" / "usage.md").write_text("# Using it\n\n[a](../nowhere.yaml)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert "nowhere.yaml: a page links to it, and it is not in the repository" in done.stderr


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.found
        for address in loaded.found:
            assert not re.match(r"(https?:)?//", address), (page, address)
            inside = (site if page.name == "404.html" else page.parent) / address.lstrip("/").split("#")[0].split("?")[
                0
            ]
            assert inside.resolve().is_relative_to(site.resolve())
            assert inside.exists(), (page, address)
    for sheet in site.rglob("*.css"):
        assert not CSS_ADDRESS.search(sheet.read_text(encoding="utf-8")), sheet


def test_the_api_has_signatures_and_docstrings(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "api" / "generating.html").read_text(encoding="utf-8"))
    assert "of several candidates the one with the highest CLAP score is picked" in text
    assert "continued: str | Path | None" in re.sub(r"\s+", " ", text)


def test_the_picture_of_the_pipeline_has_every_stage() -> None:
    drawn = set(re.findall(r">(\w+)</text>", (ROOT / "docs/images/stages.svg").read_text()))
    assert set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]) <= drawn


def test_opened_from_disk_without_a_network_pages_fit_and_the_search_finds(site: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here (pip install playwright)")
    if CHROMIUM is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width in (1400, 400):
            page = browser.new_context(viewport={"width": width, "height": 900}, offline=True).new_page()
            asked: list[str] = []
            wrong: list[str] = []
            page.on("request", lambda request, found=asked: found.append(request.url))
            page.on("pageerror", lambda error, found=wrong: found.append(str(error)))
            for name in ("index", "results", "architecture", "api/generating"):
                page.goto((site / f"{name}.html").as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            page.keyboard.press("/")
            page.keyboard.type("pointer head")
            page.wait_for_selector(".md-search-result__item a", state="attached")
            assert wrong == []
            assert asked
            assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]
        browser.close()
