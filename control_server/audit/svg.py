"""Plots as hand-readable SVG: colours come from the page's style sheet, light or dark."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

WIDTH = 960
LEFT, RIGHT, TOP, BOTTOM = 74, 14, 10, 30
_Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values along one direction of a plot."""

    low: float
    high: float
    unit: str
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high end, held inside."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(max(value, low)), math.log(low), math.log(high)
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Round values to label: decades of a logarithmic axis, else about five."""
        if self.log:
            exponents = range(
                math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1
            )
            return [10.0**exponent for exponent in exponents]
        step = _round_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def label(self, value: float) -> str:
        """A tick's text; microseconds grow into milliseconds."""
        if self.unit == "µs" and abs(value) >= 1000:
            return f"{value / 1000:g} ms"
        return f"{round(value, 9):g} {self.unit}"


def _round_step(step: float) -> float:
    decade = 10.0 ** math.floor(math.log10(step))
    return next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= step * 0.999)


@dataclass
class Plot:
    """One plot under construction; the y axis may be rows of names instead of values."""

    x: Axis
    y: Axis | None
    height: int
    title: str
    """Read out by screen readers."""
    _parts: list[Markup] = field(default_factory=list)

    def px(self, value: float) -> float:
        """Horizontal pixel of a value."""
        return LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT)

    def py(self, value: float) -> float:
        """Vertical pixel of a value on the y axis."""
        share = self.y.share(value) if self.y else value
        return TOP + (1 - share) * (self.height - TOP - BOTTOM)

    def line(self, xs: Iterable[float], ys: Iterable[float], style: str) -> None:
        """A line that is interrupted where a value is NaN."""
        commands, pen_down = [], False
        for x, y in zip(xs, ys, strict=True):
            if math.isnan(y):
                pen_down = False
                continue
            commands.append(f"{'L' if pen_down else 'M'}{self.px(x):.1f} {self.py(y):.1f}")
            pen_down = True
        self._add('<path class="line {}" d="{}"/>', style, " ".join(commands))

    def band(self, xs: _Values, lows: _Values, highs: _Values, style: str) -> None:
        """The area between two lines; empty bins interrupt it."""
        for run in _runs(~(np.isnan(lows) | np.isnan(highs))):
            points = [(xs[at], highs[at]) for at in run] + [(xs[at], lows[at]) for at in run[::-1]]
            path = " ".join(f"{self.px(x):.1f},{self.py(y):.1f}" for x, y in points)
            self._add('<polygon class="band {}" points="{}"/>', style, path)

    def rule(self, value: float, text: str) -> None:
        """A labelled horizontal line; nothing where it is outside of the axis."""
        if self.y is None or not self.y.low <= value <= self.y.high:
            return
        y = self.py(value)
        self._add('<path class="rule" d="M{} {:.1f}H{}"/>', LEFT, y, WIDTH - RIGHT)
        self.text(WIDTH - RIGHT - 4, y - 4, text, "end")

    def cell(self, x0: float, x1: float, top: float, height: float, style: str, tip: str) -> None:
        """A rectangle from value ``x0`` to ``x1`` with a tool tip; top and height in pixels."""
        left, right = self.px(x0), self.px(x1)
        self._add(
            '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
            "<title>{}</title></rect>",
            style, left, top, max(right - left, 1.0), height, tip,
        )  # fmt: skip

    def text(self, x: float, y: float, text: str, anchor: str = "start") -> None:
        """Small text at a pixel."""
        self._add('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>', x, y, anchor, text)

    def svg(self) -> Markup:
        """The finished picture."""
        frame = Markup("").join([*self._x_axis(), *self._y_axis()])
        return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
            WIDTH, self.height, self.title, frame, Markup("\n").join(self._parts)
        )

    def _x_axis(self) -> Iterable[Markup]:
        bottom = self.height - BOTTOM
        yield Markup('<path class="axis" d="M{} {}H{}"/>').format(LEFT, bottom, WIDTH - RIGHT)
        for tick in self.x.ticks():
            yield Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                self.px(tick), bottom + 18, self.x.label(tick)
            )

    def _y_axis(self) -> Iterable[Markup]:
        for tick in self.y.ticks() if self.y else ():
            y = self.py(tick)
            yield Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT, y, WIDTH - RIGHT)
            yield Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                LEFT - 8, y + 4, self.y.label(tick) if self.y else ""
            )

    def _add(self, template: str, *values: object) -> None:
        self._parts.append(Markup(template).format(*values))  # noqa: S704  # our own literals


def _runs(present: npt.NDArray[np.bool_]) -> list[Sequence[int]]:
    """Ranges of indices where a mask holds."""
    edges = np.flatnonzero(np.diff(present.astype(np.int8), prepend=0, append=0)).tolist()
    return [range(first, end) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """Names beside their colours: (CSS class, name) pairs."""
    items = (
        Markup('<span><i class="swatch {}"></i>{}</span>').format(style, escape(name))
        for style, name in entries
    )
    return Markup('<p class="legend">{}</p>').format(Markup(" ").join(items))
