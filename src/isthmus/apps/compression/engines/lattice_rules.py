"""What a pass knows: the weights that predict its points, and the sizes to be expected of what is left.

taps --weights--> P        residuals, gaps and differences around --sizes--> scale --law--> k        X' = P + k stride
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from isthmus.apps.compression.coder import Decoder, Encoder, Tables, frequencies
from isthmus.apps.compression.engines import laws
from isthmus.apps.compression.engines.lattice_plan import Layout, Pass, Site, Step, levels, passes, ring, steps
from isthmus.apps.compression.grid import exp2
from isthmus.errors import DataError

LIMIT = 1 << 37
"""Decoded numbers are kept within it, so that no sum below can leave int64."""
SHIFTS = (4, 6, 8, 10, 12)
_WEIGHT = 1 << 15
_SIZES = 64
"""How large a size may weigh: not at all, or 2^((q - 49) / 4)."""
_ABOUT = 7
_ACROSS = 4
"""Sizes within the frame, and of every reference."""

Key = tuple[int, int, int, int, int]


@cache
def size_weights() -> np.ndarray:
    """Return what the numbers 0 .. 63 stand for, in ``laws.UNIT``ths."""
    return np.concatenate([[0], np.rint(laws.UNIT * exp2((np.arange(1, _SIZES) - 49.0) / 4))]).astype(np.int64)


@dataclass(frozen=True)
class Rule:
    """Weights (of ``2^shift`` in all) of some taps; the law of residuals, and what each size around adds to their scale."""

    taps: tuple[int, ...]
    weights: tuple[int, ...]
    shift: int
    law: int
    sizes: tuple[int, ...]


class View:
    """A site together with the frames decoded so far, (frames, *space), and how far each point was from its prediction."""

    def __init__(self, site: Site, decoded: np.ndarray, errors: np.ndarray, mean: int) -> None:
        self.site, self.decoded, self.errors, self.mean = site, decoded, errors, mean
        self.around = len(ring(len(site.space)))
        self._taps: dict[int, np.ndarray | None] = {}
        near = bool(site.turn.near)
        first = self.tap(0) if near or site.step.references else None
        self.anchor = np.full(site.size, mean, np.int64) if first is None else first

    def tap(self, j: int) -> np.ndarray | None:
        if j not in self._taps:
            self._taps[j] = self.site.tap(self.decoded, j)
        return self._taps[j]

    def gaps(self) -> int:
        """Return among how many gaps a rule chooses."""
        return len(self.site.turn.near) + len(self.site.step.references) * (self.around + 1)

    def gap(self, j: int) -> np.ndarray | None:
        """Return how far a tap is from the anchor of its frame; of a reference last, how far that anchor is from ours."""
        near = len(self.site.turn.near)
        if j < near:
            value = self.tap(j)
            return None if value is None else value - self.anchor
        reference, place = divmod(j - near, self.around + 1)
        anchor = self._anchor(reference)
        if anchor is None:
            return None
        return anchor - self.anchor if place == self.around else self.centre(reference, place) - anchor

    def centre(self, reference: int, place: int = 0) -> np.ndarray:
        """Return a reference at the place of the points, or beside it."""
        value = self.tap(len(self.site.turn.near) + reference * self.around + place)
        assert value is not None
        return value

    def _anchor(self, reference: int) -> np.ndarray | None:
        """Return a reference at the place of our anchor."""
        j = -1 - reference
        if j not in self._taps:
            near = bool(self.site.turn.near)
            self._taps[j] = self.site.tap(self.decoded, 0, reference) if near else self.centre(reference)
        return self._taps[j]

    def predict(self, rule: Rule) -> np.ndarray:
        """Return P (n,) int64."""
        total = np.full(self.site.size, 1 << rule.shift >> 1, np.int64)
        for j, weight in zip(rule.taps, rule.weights, strict=True):
            gap = self.gap(j)
            if gap is not None:
                total += weight * gap
        return self.anchor + (total >> rule.shift)

    def scale(self, rule: Rule, P: np.ndarray, stride: int) -> np.ndarray:
        """Return the scale (n,) of what is left, for ``laws``."""
        total = np.zeros(self.site.size, np.int64)
        for i, q in enumerate(rule.sizes):
            if q:
                total += size_weights()[q] * self.size(i, P, stride)
        return laws.scale_of(total, stride)

    def sizes(self) -> int:
        return _ABOUT + _ACROSS * len(self.site.step.references)

    def size(self, i: int, P: np.ndarray, stride: int) -> np.ndarray | int:
        """Return one of the sizes around: the stride, errors, gaps and bends in the frame; errors and gaps in references."""
        near = len(self.site.turn.near)
        if i == 0:
            return stride
        if i < 4:  # errors of the points around
            first, last = ((0, 2), (2, 6), (6, 12))[i - 1]
            return self._sum(self.site.tap(self.errors, j) for j in range(min(first, near), min(last, near)))
        if i == 4:  # gaps between the points around and the prediction
            return self._sum(np.abs(v - P) for v in self._values(0, min(4, near)))
        if i < _ABOUT:  # bends: the prediction against means of the nearest points and those behind
            values = self._values(*((0, min(4, near)) if i == 5 else (min(4, near), min(10, near))))
            return np.abs(sum(v - P for v in values)) if values else 0
        reference, kind = divmod(i - _ABOUT, _ACROSS)
        around = len(ring(len(self.site.space)))
        centre = near + reference * self.around
        if kind == 0:
            return self._sum([self.site.tap(self.errors, centre)])
        if kind == 1:
            return self._sum(self.site.tap(self.errors, centre + j) for j in range(1, min(5, self.around)))
        value = self.centre(reference)
        if kind == 2:  # how differently the reference goes on from its anchor
            anchor = self._anchor(reference)
            return 0 if anchor is None else np.abs(value - anchor - P + self.anchor)
        if reference:
            return np.abs(value - self.centre(0))
        around = range(1, min(5, self.around))
        return np.abs(sum(self.centre(0, j) - value for j in around)) if around else 0

    def _values(self, first: int, last: int) -> list[np.ndarray]:
        values = [self.tap(j) for j in range(first, last)]
        return [value for value in values if value is not None]

    @staticmethod
    def _sum(arrays: Iterable[np.ndarray | None]) -> np.ndarray | int:
        total: np.ndarray | int = 0
        for a in arrays:
            total = total if a is None else total + a
        return total


def key_of(layout: Layout, step: Step, turn: Pass) -> Key:
    """Return which rule serves a pass in the frames of a step."""
    return step.time, step.channel, len(step.references), turn.kind, min(turn.level, layout.space_pool)


def walk(layout: Layout, shape: tuple[int, ...], thin: int = 0) -> Iterator[tuple[Key, Site]]:
    """Yield the sites of an array of that shape in their order, each with the key of its rule."""
    space = layout.extent(shape)[1:]
    for step in steps(layout, shape):
        for turn in passes(len(space), layout.space_top):
            if all(start < n for start, n in zip(turn.start, space, strict=True)):
                yield key_of(layout, step, turn), Site(step, turn, space, thin)


def templates(layout: Layout, shape: tuple[int, ...]) -> dict[Key, tuple[int, int]]:
    """Return the keys of all rules in the order in which they are first needed, with their numbers of taps and of sizes."""
    space = layout.extent(shape)[1:]
    around, found = len(ring(len(space))), {}
    for time, _, channel, in_time, back in levels(layout, shape):
        nothing = Step(
            np.zeros(0, int),
            [np.zeros(0, int)] * (in_time + back),
            min(time, layout.time_pool),
            min(channel, layout.channel_pool),
        )
        for turn in passes(len(space), layout.space_top):
            if all(start < n for start, n in zip(turn.start, space, strict=True)):
                references = in_time + back
                found[key_of(layout, nothing, turn)] = (
                    len(turn.near) + references * (around + 1),
                    _ABOUT + _ACROSS * references,
                )
    return found


def plain(site: Site) -> Rule:
    """Return the rule of a pass of which nothing was learned: the mean of the nearest points, or the same point elsewhere."""
    near = site.turn.near
    distance = sum(a * a for a in near[0]) if near else 0
    count = max(sum(sum(a * a for a in o) == distance for o in near), 1)
    taps = tuple(range(count)) if near else ()
    sizes = [44, 41, 37, 0, 41, 0, 0, *[0] * (_ACROSS * len(site.step.references))]
    if not near:
        sizes[0] = 63
    return Rule(taps, tuple(round(2**6 / count) for _ in taps), 6, laws.LAWS.index("laplace"), tuple(sizes))


Exchange = Callable[[np.ndarray, np.ndarray, int, tuple], np.ndarray]


def run(
    layout: Layout, shape: tuple, mean: int, stride: int, rule_of: Callable, exchange: Exchange, into=None
) -> tuple[np.ndarray, np.ndarray]:
    """Walk an array of that shape; return it (frames, *space) and the size of its residuals.

    ``exchange`` is told P, the scales, the law and the points of a site, and says k.
    """
    extent = layout.extent(shape)
    decoded, errors = into or (np.zeros(extent, np.int64), np.zeros(extent, np.int64))
    for key, site in walk(layout, shape):
        if not site.size:
            continue
        view = View(site, decoded, errors, mean)
        rule = rule_of(key, site) or plain(site)
        P = view.predict(rule)
        k = exchange(P, view.scale(rule, P, stride), rule.law, site.points)
        box = (len(site.frames), *map(len, site.axes))
        decoded[site.points] = np.clip(P + k * stride, -LIMIT, LIMIT).reshape(box)
        if site.turn.near or site.step.references:
            errors[site.points] = np.clip(np.abs(k) * stride, 0, LIMIT).reshape(box)
    return decoded, errors


_SHARES = np.arange(1, 32)[:, None] * np.array([[-1, 1]]) + np.array([[32, 0]])


@cache
def _bits() -> Tables:
    """Return the tables of one bit, by how often it is set: in 1 .. 31 of 32."""
    return Tables(frequencies(_SHARES))


def put_rule(encoder: Encoder, rule: Rule, taps: int) -> None:
    """Write a rule that chooses among so many taps."""
    encoder.put_bits(np.array([rule.law]), 2)
    encoder.put_bits(np.array([SHIFTS.index(rule.shift)]), 3)
    _put_choice(encoder, np.isin(np.arange(taps), rule.taps))
    if rule.weights:
        weights = np.array(rule.weights, np.int64)
        scale = int(laws.scale_of(np.array([np.abs(weights).mean() * laws.UNIT], np.int64), 1)[0]) // 2
        encoder.put_bits(np.array([scale]), 6)
        laws.put(encoder, weights, np.full(len(weights), 2 * scale), laws.LAWS.index("laplace"))
    sizes = np.array(rule.sizes, np.int64)
    _put_choice(encoder, sizes > 0)
    encoder.put_bits(sizes[sizes > 0], 6)


def _put_choice(encoder: Encoder, chosen: np.ndarray) -> None:
    share = int(np.clip(round(32 * chosen.mean()), 1, 31)) - 1 if len(chosen) else 0
    encoder.put_bits(np.array([share]), 5)
    encoder.put(chosen.astype(np.int64), _bits(), np.full(len(chosen), share))


def get_rule(decoder: Decoder, taps: int, sizes: int) -> Rule:
    """Read what ``put_rule`` wrote."""
    law, shift = int(decoder.get_bits(1, 2)[0]), int(decoder.get_bits(1, 3)[0])
    chosen = _get_choice(decoder, taps)
    weights = np.zeros(0, np.int64)
    if len(chosen):
        scale = int(decoder.get_bits(1, 6)[0])
        weights = laws.get(decoder, np.full(len(chosen), 2 * scale), laws.LAWS.index("laplace"))
    if shift >= len(SHIFTS) or (np.abs(weights) >= _WEIGHT).any():
        raise DataError("the model of the lattice holds a weight that none can have; the file is damaged.")
    weighed = _get_choice(decoder, sizes)
    all_sizes = np.zeros(sizes, np.int64)
    all_sizes[weighed] = decoder.get_bits(len(weighed), 6)
    return Rule(tuple(chosen.tolist()), tuple(weights.tolist()), SHIFTS[shift], law, tuple(all_sizes.tolist()))


def _get_choice(decoder: Decoder, count: int) -> np.ndarray:
    share = int(decoder.get_bits(1, 5)[0])
    if share > 30:
        raise DataError("the model of the lattice holds a choice that none can be; the file is damaged.")
    return np.flatnonzero(decoder.get(_bits(), np.full(count, share)))
