"""Charts as SVG, drawn on the server. Colours are classes of style.css."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

from markupsafe import Markup, escape


def donut(share: float | None, size: int) -> Markup:
    """A share as part of a ring, with its percentage inside."""
    radius, stroke = 40, 12
    length = 2 * pi * radius
    text = "-" if share is None else f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"
    arc = f'<circle class="arc" cx="50" cy="50" r="{radius}" stroke-width="{stroke}" transform="rotate(-90 50 50)"'
    arc += f' stroke-dasharray="{length * (share or 0):.2f} {length:.2f}" stroke-linecap="butt"/>'
    return Markup(
        f'<svg class="donut" viewBox="0 0 100 100" width="{size}" height="{size}" role="img" aria-label="{text}">'
        f'<circle class="track" cx="50" cy="50" r="{radius}" stroke-width="{stroke}"/>{arc if share else ""}'
        f'<text x="50" y="50" dy=".36em" text-anchor="middle">{text}</text></svg>'
    )


def meter(share: float, kind: str = "") -> Markup:
    """A share as a filled bar."""
    return Markup(
        f'<svg class="meter {kind}" viewBox="0 0 200 8" width="100%" height="8" preserveAspectRatio="none">'
        '<rect class="track" width="200" height="8" rx="4"/>'
        f'<rect class="fill" width="{200 * min(share, 1):.2f}" height="8" rx="4"/></svg>'
    )


def bars(rows: Sequence[tuple[str, float, str]]) -> Markup:
    """One horizontal bar for each label and number, with what the number is called."""
    height, top = 34, max((number for _, number, _ in rows), default=1) or 1
    parts = []
    for place, (label, number, text) in enumerate(rows):
        y = place * height
        parts.append(
            f'<text class="label" x="88" y="{y + 21}" text-anchor="end">{escape(label)}</text>'
            f'<rect class="fill" x="100" y="{y + 5}" width="{380 * number / top:.1f}" height="22" rx="4"/>'
            f'<text class="number" x="{108 + 380 * number / top:.1f}" y="{y + 21}">{escape(text)}</text>'
        )
    return Markup(f'<svg class="bars" viewBox="0 0 600 {height * len(rows)}" role="img">{"".join(parts)}</svg>')


def area(numbers: Sequence[float], labels: Sequence[str], top: float | None = None) -> Markup:
    """Numbers over time as a line with the area under it. `top`: what the full height is."""
    width, height, foot = 600, 150, 22
    if len(numbers) < 2:
        return Markup('<p class="empty">Two looks are needed for a line: reload this page in a moment.</p>')
    top = top or max(numbers) * 1.1 or 1
    step = width / (len(numbers) - 1)
    points = [
        f"{place * step:.1f},{height - height * min(number / top, 1):.1f}" for place, number in enumerate(numbers)
    ]
    grid = "".join(f'<line class="grid" x1="0" x2="{width}" y1="{y}" y2="{y}"/>' for y in (0.5, 75, height - 0.5))
    heights = ""
    if top == 1:
        heights = "".join(
            f'<text class="label" x="4" y="{y}">{text}</text>' for text, y in (("100 %", 13), ("50 %", 88))
        )
    ends = zip(labels, ((0, "start"), (width, "end")))
    texts = "".join(
        f'<text class="label" x="{x}" y="{height + foot - 4}" text-anchor="{anchor}">{escape(label)}</text>'
        for label, (x, anchor) in ends
    )
    return Markup(
        f'<svg class="area" viewBox="0 -4 {width} {height + foot + 4}" role="img">{grid}'
        f'<polygon class="under" points="0,{height} {" ".join(points)} {width},{height}"/>'
        f'<polyline class="line" points="{" ".join(points)}"/>{heights}{texts}</svg>'
    )
