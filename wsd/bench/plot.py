"""The latency of delivery by percentile, as an SVG file without any library.

The axis of percentiles is logarithmic towards 100 %, since it is the slowest copies that people
notice: 90, 99 and 99.9 % are equally far apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 56, 60
STEPS = (1, 2, 5, 10)


def svg(title: str, percentiles: Sequence[tuple[float, float]]) -> str:
    """``percentiles`` are (quantile from 0 up to less than 1, milliseconds)."""
    nines = max(1.0, *(depth(q) for q, _ in percentiles))
    step = step_of(max(ms for _, ms in percentiles))
    rows = max(1, math.ceil(max(ms for _, ms in percentiles) / step))

    def x(q: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * depth(q) / nines

    def y(ms: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ms / (rows * step)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" fill="#222">Latency of delivery</text>',
        f'<text x="{LEFT}" y="42" fill="#555">{escape(title)}</text>',
    ]
    for row in range(rows + 1):
        at = y(row * step)
        parts.append(line(LEFT, at, WIDTH - RIGHT, at))
        parts.append(label(LEFT - 8, at + 4, f"{row * step:g}", "end"))
    for q, name in ((0.0, "0"), (0.5, "50"), *nine_marks(nines)):
        parts.append(line(x(q), TOP, x(q), HEIGHT - BOTTOM))
        parts.append(label(x(q), HEIGHT - BOTTOM + 18, name, "middle"))
    parts.append(label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, "% of copies", "middle"))
    parts.append(label(LEFT - 8, 42, "ms", "end"))
    points = " ".join(f"{x(q):.1f},{y(ms):.1f}" for q, ms in percentiles)
    parts.append(f'<polyline points="{points}" fill="none" stroke="#0b63c5" stroke-width="2.5"/>')
    for q, ms in percentiles:
        parts.append(
            f'<circle cx="{x(q):.1f}" cy="{y(ms):.1f}" r="3" fill="#0b63c5">'
            f"<title>{q * 100:g} %: {ms:g} ms</title></circle>"
        )
    return "\n".join([*parts, "</svg>", ""])


def depth(q: float) -> float:
    """How many nines a quantile has: 1 for 0.9, 2 for 0.99."""
    return -math.log10(1 - q)


def nine_marks(nines: float) -> list[tuple[float, str]]:
    quantiles = [1 - 10.0**-n for n in range(1, int(nines + 1e-9) + 1)]
    return [(q, f"{q * 100:.{max(0, n - 2)}f}") for n, q in enumerate(quantiles, 1)]


def step_of(highest: float) -> float:
    """A round distance of the lines, of which there will be five to ten or so."""
    unit = 10.0 ** math.floor(math.log10(max(highest, 0.001) / 5))
    return next((s for s in STEPS if s * unit * 6 >= highest), STEPS[-1]) * unit


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#ddd" fill="none"/>'


def label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#555">{text}</text>'
