"""The documentation: every public name has its entry, links within it lead somewhere."""

import importlib
import re
from pathlib import Path

import pytest

import meshconv

_ROOT = Path(__file__).parents[1]
_DOCS = _ROOT / "docs"
_PACKAGES = sorted(path.stem for path in (_DOCS / "api").glob("*.rst") if path.stem not in ("index", "meshconv"))


def test_every_package_has_a_page_of_the_reference():
    """The list of pages is the list of packages that the package itself exports, but the demonstration."""
    exported = {name for name in meshconv.__all__ if Path(meshconv.__file__).with_name(name).is_dir()}
    assert set(_PACKAGES) == exported - {"demo"}
    index = (_DOCS / "api/index.rst").read_text()
    assert all(f"\n   {name}\n" in index for name in _PACKAGES)


@pytest.mark.parametrize("name", _PACKAGES)
def test_every_public_name_has_a_docstring(name):
    package = importlib.import_module(f"meshconv.{name}")
    assert package.__doc__
    public = {word: getattr(package, word) for word in package.__all__}
    assert [word for word, it in public.items() if callable(it) and not (it.__doc__ or "").strip()] == []


def test_every_page_is_reached_from_the_start():
    index = (_DOCS / "index.md").read_text()
    pages = {path.stem for path in _DOCS.glob("*.md")} - {"index"}
    assert {page for page in pages if not re.search(rf"^{page}$", index, re.M)} == set()


_PAGES = [*sorted(_DOCS.rglob("*.md")), *sorted(_ROOT.glob("*.md"))]


@pytest.mark.parametrize("page", _PAGES, ids=lambda p: p.name)
def test_links_and_pictures_are_there(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)", text)
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing
    named = re.findall(r"`((?:docs|tests|benchmarks|examples|meshconv/configs)/[\w/.]+\.\w+|data/\w+\.py)`", text)
    assert [path for path in named if "NAME" not in path and not (_ROOT / path).exists()] == []


@pytest.mark.parametrize("page", _PAGES, ids=lambda p: p.name)
def test_tables_have_a_head(page):
    """A blank line amid a table leaves rows without one, which are shown as text."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    tables = [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.M)]
    assert [rows[0] for rows in tables if not re.match(r"\|( *:?-+:? *\|)+$", "".join(rows[1:2]))] == []


def anchors(page):
    """Of the headings, as GitHub and myst make them, and those that are set by hand."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    headings = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in re.findall(r"^#+ (.*)$", text, re.M))
    slugs = {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r"^\(([\w-]+)\)=$", text, re.M))


@pytest.mark.parametrize("page", _PAGES, ids=lambda p: p.name)
def test_anchors_are_there(page):
    for link, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text()):
        if "://" not in link:
            assert anchor in anchors(page.parent / link if link else page), f"{link}#{anchor}"
