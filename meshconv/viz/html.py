"""HTML of reports: escaped text, tables, inline pictures, style."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from math import isnan
from pathlib import Path

from matplotlib.figure import Figure

__all__ = [
    "STYLE",
    "command",
    "figure",
    "file_picture",
    "larger",
    "legend",
    "page",
    "picture",
    "swatch",
    "table",
    "tiles",
]

STYLE = """
:root { --ink: #1b2530; --soft: #5b6875; --line: #dde3e9; --tint: #f4f7fa; --accent: #0b6bcb; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 2.2rem 1.25rem 4rem; }
h1 { font-size: clamp(1.6rem, 4vw, 2.3rem); line-height: 1.2; margin: 0 0 .3rem;
  overflow-wrap: anywhere; }
h2 { font-size: 1.45rem; margin: 3rem 0 .6rem; padding-top: 1.2rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
p { max-width: 46rem; margin: .5rem 0; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: .8rem;
  margin: 1.2rem 0; padding: 0; list-style: none; }
.tiles li { background: var(--tint); border: 1px solid var(--line); border-radius: 10px;
  padding: .8rem 1rem; }
.tiles b { display: block; font-size: 1.6rem; line-height: 1.2;
  font-variant-numeric: tabular-nums; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
  gap: 1.2rem 1.6rem; margin: 1rem 0; }
.narrow { max-width: 620px; margin: 1rem 0; }
.grid.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; }
figcaption { margin-top: .2rem; }
figcaption b { color: var(--ink); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; }
.turning { border: 1px solid var(--line); border-radius: 10px; overflow: hidden; margin: 1rem 0; }
.scroll.wide img { display: block; width: 100%; min-width: 820px; padding: .6rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .8rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { background: var(--tint); font-weight: 600; white-space: normal;
  vertical-align: bottom; }
tbody tr:last-child td { border-bottom: 0; }
.better { font-weight: 650; color: var(--accent); }
.swatch { display: inline-block; width: .95em; height: .95em; border-radius: 3px;
  margin-right: .45em; vertical-align: -.1em; border: 1px solid rgb(0 0 0 / .18); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; padding: 0; margin: .8rem 0;
  list-style: none; font-size: .9rem; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  background: var(--tint); border: 1px solid var(--line); border-radius: 5px; padding: .1em .4em;
  overflow-wrap: anywhere; }
@media print {
  main { max-width: none; } h2 { break-after: avoid; } figure { break-inside: avoid; }
}
"""


def page(title: str, body: str, end: str = "") -> str:
    """A whole HTML document; ``body`` is markup, ``title`` text, ``end`` markup after all others, such as scripts."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n{end}</body>\n</html>\n"
    )


def picture(drawing: Figure, alt: str, dpi: int = 130) -> str:
    """An ``img`` with the figure inside, as PNG in base64."""
    data = io.BytesIO()
    drawing.savefig(data, format="png", dpi=dpi)
    text = base64.b64encode(data.getvalue()).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{text}">'


def file_picture(path: Path, alt: str) -> str:
    """An ``img`` with a picture file inside: PNG or GIF."""
    text = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/{path.suffix[1:].lower()};base64,{text}">'


def figure(image: str, title: str, text: str = "") -> str:
    """A picture's markup with a caption: a bold title and a sentence."""
    more = f" {escape(text)}" if text else ""
    return f"<figure>{image}<figcaption><b>{escape(title)}</b>{more}</figcaption></figure>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are markup already, under headings that are text."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def larger(first: float, second: float, form: str) -> tuple[str, str]:
    """Two cells with numbers in a format, the larger one marked; a dash stands for NaN."""
    texts = [("–" if isnan(value) else format(value, form)) for value in (first, second)]
    if texts[0] != texts[1] and not (isnan(first) or isnan(second)):
        best = 0 if first > second else 1
        texts[best] = f'<span class="better">{texts[best]}</span>'
    return texts[0], texts[1]


def legend(names: Sequence[str], colors: Sequence[str]) -> str:
    """Coloured squares with names, which wrap on a narrow screen."""
    items = (f"<li>{swatch(c)}{escape(n)}</li>" for n, c in zip(names, colors, strict=True))
    return f'<ul class="legend">{"".join(items)}</ul>'


def swatch(color: str) -> str:
    """A small coloured square."""
    return f'<span class="swatch" style="background:{escape(color)}"></span>'


def tiles(items: Iterable[tuple[str, str]]) -> str:
    """Large numbers with a line of text under each."""
    cells = (f'<li><b>{escape(value)}</b><span class="soft">{escape(text)}</span></li>' for value, text in items)
    return f'<ul class="tiles">{"".join(cells)}</ul>'


def command(text: str) -> str:
    """A line that tells what to type, or nothing if there is nothing to type."""
    return f'<p class="soft">Obtained by <code>{escape(text)}</code></p>' if text else ""
