"""The frame of every report: one HTML file, style inside, nothing fetched from anywhere."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from evosearch.tables import cell

STYLE = """
:root { color-scheme: light dark; --font: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  --paper: #fbfbfa; --card: #ffffff; --ink: #1d2433; --muted: #667085; --line: #e4e7ec;
  --accent: #2563eb; --good: #15803d; --soft: #eef4ff;
  --series-1: #2563eb; --series-2: #d97706; --series-3: #15803d; --series-4: #be185d;
  --series-5: #7c3aed; --series-6: #0e7490; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #12151c; --card: #1a1f2a; --ink: #e6e9ef; --muted: #98a2b3; --line: #2e3646;
  --accent: #7aa2ff; --good: #4ade80; --soft: #1e2a44;
  --series-1: #7aa2ff; --series-2: #fbbf24; --series-3: #4ade80; --series-4: #f472b6;
  --series-5: #c4b5fd; --series-6: #67e8f9; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 var(--font); }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .25rem; letter-spacing: -.02em; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: 0 0 .5rem; }
p { margin: .4rem 0 .8rem; max-width: 48rem; }
.muted, figcaption, .card small { color: var(--muted); }
.lead { font-size: 1.08rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.4rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0; }
.card, figure, .rule { background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem; padding: .9rem 1rem; }
.card b { display: block; font-size: 1.45rem; font-weight: 650; letter-spacing: -.01em; }
.card.good b { color: var(--good); }
figure { margin: .75rem 0; overflow-x: auto; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { font-size: .9rem; margin-top: .4rem; }
.rules { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: .75rem; }
.rule.champion { border-color: var(--accent); background: var(--soft); }
.rule.wide { grid-column: 1 / -1; }
.rule math { font-size: 1.2rem; margin: .6rem 0; overflow-x: auto; overflow-y: hidden; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th { text-align: left; color: var(--muted); font-weight: 600; }
th, td { padding: .42rem .7rem .42rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
table.facts { width: auto; min-width: 22rem; }
tr.champion td { font-weight: 650; background: var(--soft); }
tr.champion td:first-child { border-left: 3px solid var(--accent); padding-left: .5rem; }
code, pre { font: .88rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1rem;
  overflow-x: auto; margin: .5rem 0; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--accent); }
.bar { display: block; background: var(--line); border-radius: 4px; height: .55rem;
  min-width: 6rem; margin-top: .45rem; }
.bar i { display: block; background: var(--accent); height: 100%; border-radius: 4px; }
footer { margin-top: 3rem; color: var(--muted); font-size: .9rem; }
@media print { main { max-width: none; padding: 0; } .card, figure, .rule { break-inside: avoid; } }
"""


_NUMERIC = ' class="n"'


class Raw(str):
    """A string that is HTML already; any other is escaped where it is placed."""

    __slots__ = ()


def text(value: Any) -> Raw:
    """Return a value as escaped HTML; ``Raw`` stays as it is."""
    return value if isinstance(value, Raw) else Raw(html.escape(cell(value)))


def page(title: str, sections: Iterable[str]) -> str:
    """Return a whole HTML document."""
    body = "\n".join(section for section in sections if section)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Return a heading and what belongs to it, or nothing where all parts are empty."""
    body = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{body}\n</section>" if body else ""


def paragraph(words: str, kind: str = "") -> str:
    """Return a paragraph of the given class."""
    of_class = f' class="{text(kind)}"' if kind else ""
    return f"<p{of_class}>{text(words)}</p>" if words else ""


def cards(entries: Sequence[tuple[str, Any, str]]) -> str:
    """Return key figures: a label, a value and a small note each; ``+`` before a note is good."""
    items = []
    for label, value, note in entries:
        kind = " good" if note.startswith("+") else ""
        small = f"<small>{text(note.removeprefix('+'))}</small>" if note else ""
        items.append(
            f'<div class="card{kind}"><small>{text(label)}</small><b>{text(value)}</b>{small}</div>'
        )
    return f'<div class="cards">{"".join(items)}</div>'


def figure(drawing: str, caption: str) -> str:
    """Return a drawing with its caption."""
    return f"<figure>{drawing}<figcaption>{text(caption)}</figcaption></figure>"


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    champion: int | None = None,
) -> str:
    """Return a table; numbers stand to the right and the champion's row is marked."""
    if not rows:
        return ""
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
    head = "".join(
        f"<th{_NUMERIC if is_n else ''}>{text(name)}</th>"
        for name, is_n in zip(columns, numeric, strict=True)
    )
    lines = []
    for index, row in enumerate(rows):
        mark = ' class="champion"' if index == champion else ""
        cells = "".join(
            f"<td{_NUMERIC if is_n else ''}>{text(value)}</td>"
            for value, is_n in zip(row, numeric, strict=True)
        )
        lines.append(f"<tr{mark}>{cells}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def facts_table(rows: Sequence[tuple[str, Any]]) -> str:
    """Return names and values without a head."""
    lines = (
        f"<tr><td>{text(name)}</td>"
        f"<td{_NUMERIC if _is_number(value) else ''}>{text(value)}</td></tr>"
        for name, value in rows
    )
    return f'<div class="scroll"><table class="facts">{"".join(lines)}</table></div>'


def details(title: str, content: str) -> str:
    """Return preformatted text under a line that opens it."""
    return f"<details><summary>{text(title)}</summary><pre>{text(content)}</pre></details>"


def bar(share: float | None) -> Raw:
    """Return a bar from 0 to 1 with its number; outside values are cut to it."""
    if share is None:
        return Raw("–")
    width = 100 * min(1.0, max(0.0, share))
    return Raw(f'{share:.3f}<span class="bar"><i style="width:{width:.1f}%"></i></span>')


def write_page(path: Path, content: str) -> Path:
    """Write a page whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.write_text(content, encoding="utf-8")
    draft.replace(path)
    return path


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
