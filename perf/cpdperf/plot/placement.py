"""Puts labels beside points and lines so that they do not lie on each other."""

from __future__ import annotations

import math
from statistics import fmean
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

from cpdperf.plot.style import shade

RADII = (7, 12, 18, 25, 33, 42, 52, 63, 75, 90)  # points, between a point and its label
DIRECTIONS = 24
POINT_RADIUS = 4.0  # pixels at 72 dots per inch
PIECES = 12  # of a leader, which are looked at one by one
GAP = 1.5
CONFUSION = 4.0  # points of distance that it is worth to avoid one
CROSSING = 15.0  # the same, for each piece of a leader


class Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    @property
    def middle(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def overlap(self, other: Box) -> float:
        """The common area."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    def grown(self, by: float) -> Box:
        return Box(self.left - by, self.bottom - by, self.right + by, self.top + by)

    def holds(self, x: float, y: float) -> bool:
        return self.left < x < self.right and self.bottom < y < self.top


class Point(NamedTuple):
    x: float
    y: float
    text: str
    colour: str


def label_points(axes: Axes, points: list[Point], fontsize: float) -> list[Annotation]:
    """Labels each point at the free place next to it, with a thin line where that is far away.

    The axes' scales and limits must be final.
    """
    axes.figure.draw_without_rendering()
    # In points, as offsets of annotations are.
    to_points = 72 / axes.figure.dpi
    frame = Box(*(axes.bbox.extents * to_points)).grown(-1)
    places = [axes.transData.transform((p.x, p.y)) * to_points for p in points]
    taken = [Box(x, y, x, y).grown(POINT_RADIUS) for x, y in places]
    labels = []
    for i in sorted(range(len(points)), key=lambda i: _crowd(places, i), reverse=True):
        width, height = _extent(axes, points[i].text, fontsize)
        others = places[:i] + places[i + 1 :]
        box = _best_place(places[i], width, height, taken, frame, others)
        taken += [box.grown(GAP), *(Box(x, y, x, y).grown(GAP) for x, y in _leader(places[i], box))]
        labels.append(_annotate(axes, points[i], places[i], box, fontsize))
    return labels


def _crowd(places: list, i: int) -> float:
    """How close the others are: the most crowded points choose first."""
    x, y = places[i]
    distances = (math.hypot(x - other[0], y - other[1]) for other in places)
    return sum(1 / (10 + distance) for distance in distances)


def _extent(axes: Axes, text: str, fontsize: float) -> tuple[float, float]:
    sample = axes.text(0, 0, text, fontsize=fontsize)
    extent = sample.get_window_extent()
    sample.remove()
    return extent.width * 72 / axes.figure.dpi, extent.height * 72 / axes.figure.dpi


def _best_place(
    place: tuple, width: float, height: float, taken: list[Box], frame: Box, others: list
) -> Box:
    """The nearest place that touches nothing, else the one that touches least."""
    best, least = None, math.inf
    for radius in RADII:
        for step in range(DIRECTIONS):
            angle = 2 * math.pi * step / DIRECTIONS
            box = _box_at(place, angle, radius, width, height)
            cost = _cost(place, box, taken, frame) + _confusion(place, box, others) + radius
            if cost < least:
                best, least = box, cost
        if least < 2 * radius:
            break
    assert best is not None
    return best


def _box_at(place: tuple, angle: float, radius: float, width: float, height: float) -> Box:
    """A box that lies outside the circle around the point, in that direction."""
    centre_x = place[0] + math.cos(angle) * (radius + width / 2)
    centre_y = place[1] + math.sin(angle) * (radius + height / 2)
    return Box(
        centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2
    )


def _cost(place: tuple, box: Box, taken: list[Box], frame: Box) -> float:
    """Points: overlap, what lies outside the axes, and labels that the leader would cross."""
    cost = sum(10 * box.overlap(other) for other in taken)
    area = (box.right - box.left) * (box.top - box.bottom)
    cost += 20 * (area - box.overlap(frame))
    for x, y in _leader(place, box):
        cost += sum(CROSSING for other in taken if other.holds(x, y) and not other.holds(*place))
    return cost


def _leader(place: tuple, box: Box) -> list[tuple[float, float]]:
    """Some points of the line from the point to its label, which aims at the label's middle."""
    end_x, end_y = box.middle
    shares = [i / PIECES for i in range(2, PIECES + 1)]
    return [(place[0] + (end_x - place[0]) * t, place[1] + (end_y - place[1]) * t) for t in shares]


def _confusion(place: tuple, box: Box, others: list) -> float:
    """For each other point that the label is nearer to than to its own."""
    own = math.dist(place, _nearest(place, box))
    return sum(CONFUSION for other in others if math.dist(other, _nearest(other, box)) < own)


def _nearest(place: tuple, box: Box) -> tuple[float, float]:
    """The point of the box that is nearest."""
    return min(max(place[0], box.left), box.right), min(max(place[1], box.bottom), box.top)


def _annotate(axes: Axes, point: Point, place: tuple, box: Box, fontsize: float) -> Annotation:
    far = math.dist(place, _nearest(place, box)) > RADII[1]
    label = axes.annotate(
        point.text,
        (point.x, point.y),
        xytext=(box.middle[0] - place[0], box.middle[1] - place[1]),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=fontsize,
        color=shade(point.colour),
        arrowprops={"arrowstyle": "-", "color": point.colour, "lw": 0.5, "alpha": 0.7, "shrinkB": 2}
        if far
        else None,
    )
    label.set_in_layout(False)
    label.set_path_effects([withStroke(linewidth=2, foreground="white")])
    return label


def label_line_ends(axes: Axes, fontsize: float) -> list[Annotation]:
    """The name of each labelled line behind its right end, moved apart where they would overlap."""
    lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
    ends = [(line, *line.get_xydata()[-1]) for line in lines]
    height = fontsize * 1.15
    scale = 72 / axes.figure.dpi
    axes.figure.draw_without_rendering()
    wanted = [axes.transData.transform((x, y))[1] * scale for _, x, y in ends]
    bottom, top = axes.bbox.y0 * scale, axes.bbox.y1 * scale
    placed = _spread(wanted, height, bottom, top)
    labels = []
    for (line, x, y), was, now in zip(ends, wanted, placed, strict=True):
        labels.append(
            axes.annotate(
                line.get_label(),
                (x, y),
                xytext=(6, now - was),
                textcoords="offset points",
                va="center",
                fontsize=fontsize,
                color=line.get_color(),
                annotation_clip=False,
            )  # fmt: skip
        )
    return labels


def _spread(wanted: list[float], height: float, bottom: float, top: float) -> list[float]:
    """Places at least a height apart, as near as can be to where they are wanted, in that order.

    Less i heights each, the i-th place must not be below the one before: neighbours that break this
    are joined and share their mean.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    clusters: list[list[float]] = []
    for i, index in enumerate(order):
        clusters.append([wanted[index] - i * height])
        while len(clusters) > 1 and fmean(clusters[-2]) > fmean(clusters[-1]):
            last = clusters.pop()
            clusters[-1] += last
    levels = [fmean(cluster) for cluster in clusters for _ in cluster]
    highest = top - height / 2 - (len(wanted) - 1) * height
    places = [0.0] * len(wanted)
    for i, index in enumerate(order):
        places[index] = max(bottom + height / 2, min(levels[i], highest)) + i * height
    return places
