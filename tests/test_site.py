"""The site of `make docs`: it builds without a warning, needs no network, and shows every public name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import asr_rescore
from conftest import ROOT

CONF = (ROOT / "docs/conf.py").read_text("utf-8")
LOADED = re.compile(
    r"""<(?:script|img|link|iframe)\b[^>]*?(?:src|href)="(?:https?:)?//[^"]*"|@import|url\(["']?(?:https?:)?//"""
)


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Call Sphinx as the Makefile does."""
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--jobs", "1"]
    return subprocess.run([*sphinx, "-c", "docs", ".", out], cwd=source, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(checkout, tmp_path_factory):
    for package in ("sphinx", "myst_parser", "furo", "latex2mathml"):
        pytest.importorskip(package, reason="the extra docs is not installed: make docs")
    out = tmp_path_factory.mktemp("site")
    done = build(checkout, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site):
    page = (site / "docs/api.html").read_text("utf-8")
    assert [name for name in asr_rescore.__all__ if f'id="asr_rescore.{name}"' not in page] == []
    assert "A line with only a key gives an empty list." in page  # from the docstring of read_table


@pytest.mark.slow
def test_nothing_is_loaded_from_the_network(site):
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(files) > 30
    loads = [(path.name, found) for path in files for found in LOADED.findall(path.read_text("utf-8"))]
    assert loads == []


@pytest.mark.slow
def test_equations_are_mathml(site):
    page = (site / "docs/method.html").read_text("utf-8")
    assert page.count("<math ") > 30
    assert "$$" not in page and "\\frac" not in page


@pytest.mark.slow
def test_every_page_of_docs_can_be_reached_from_the_contents(site):
    start = (site / "README.html").read_text("utf-8")
    pages = [path.stem for path in (ROOT / "docs").glob("*.md")]
    assert [page for page in pages if f'href="docs/{page}.html"' not in start] == []


@pytest.mark.slow
@pytest.mark.parametrize("link", ["docs/absent.md", "docs/method.md#absent", "recipes/absent"])
def test_a_link_that_leads_nowhere_is_an_error(site, link, tmp_path):
    for name in ("conf.py", "site_pages.py", "site_mathml.py"):
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "docs" / name).write_text((ROOT / "docs" / name).read_text("utf-8"))
    (tmp_path / "docs/method.md").write_text("# The method\n")
    conf = tmp_path / "docs/conf.py"
    conf.write_text(f"{CONF}\nhtml_static_path = html_extra_path = html_css_files = []\n")
    (tmp_path / "README.md").write_text(f"# Start\n\n[there]({link})\n")
    done = build(tmp_path, tmp_path / "out")
    assert done.returncode != 0
    assert link.split("#")[-1] in done.stderr


def test_the_reference_lists_every_public_name():
    text = (ROOT / "docs/api.md").read_text("utf-8")
    assert [name for name in asr_rescore.__all__ if f"- `asr_rescore.{name}`: " not in text] == []


def test_links_to_directories_lead_to_their_pages(monkeypatch):
    pytest.importorskip("sphinx", reason="the extra docs is not installed: make docs")
    monkeypatch.syspath_prepend(ROOT / "docs")
    from site_pages import linked_to_pages

    text = "[a](recipes/ptb), [b](recipes/wsj/conf/wsj), [c](docs/method.md), [d](absent), [e](docs/method.md#lattices)"
    changed = "[a](recipes/ptb/README.md), `b`, [c](docs/method.md), [d](absent), [e](docs/method.md#lattices)"
    assert linked_to_pages(text, ROOT) == changed


def test_pictures_are_small_and_shown():
    text = "".join(path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md"))
    for picture in (ROOT / "docs/images").glob("*.*g"):
        assert picture.stat().st_size <= 200 * 1024, picture
        assert f"](images/{picture.name})" in text, picture
