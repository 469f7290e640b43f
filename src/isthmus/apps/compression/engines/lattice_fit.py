"""How a lattice learns: least squares on what the decoder will have seen, taps that pay for their bytes, sizes by likelihood.

1. a walk over X that finds the weights of a rule where it is first needed, from what is decoded until then (of what is not,
   X with the noise of quantisation stands in)     2. sizes and laws from its residuals     3. the layout whose bytes are fewest
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from isthmus.apps.compression.engines import laws
from isthmus.apps.compression.engines.engine import nearest
from isthmus.apps.compression.engines.lattice_plan import Layout, Site
from isthmus.apps.compression.engines.lattice_rules import SHIFTS, Key, Rule, View, run, size_weights, walk

_THIN = 1 << 15
_POINTS = 1 << 17
"""Points of a rule that are looked at: in one site, and in all."""
_FITTED = 1 << 12
"""Points from which sizes are weighed."""
_TAP_BITS = 11.0
"""What a tap costs in the model, about."""


class Moments(NamedTuple):
    """The products of gaps and target, (p + 1, p + 1), over so many points."""

    gram: np.ndarray
    points: int


def learn(X: np.ndarray, stride: int, seed: int, effort: str) -> Iterator[tuple[Layout, dict[Key, Rule], int]]:
    """Yield layouts with their rules and the mean; which is best, their bytes say."""
    for layout in layouts(X.shape, effort):
        yield layout, *fit(X, stride, layout, seed)


def layouts(shape: tuple[int, ...], effort: str) -> list[Layout]:
    """Return what is tried: which axes are space, and how much is shared."""
    n, rest = shape[0], shape[1:]
    found = []
    inner = min(2, len(rest)) if rest and rest[-1] >= 9 else 0
    if inner == 2 and rest[-2] < 9:
        inner = 1
    if inner:
        rows = "time" if n >= 9 else "channel"
        found.append((rows, inner))
    if n >= 64 and len(rest) - inner <= 1 and (not inner or inner == 1):
        found.append(("space", inner))
    if not found:
        found.append(("space", 0))
    out = []
    for rows, inner in found:
        space = shape[len(shape) - inner :] + ((n,) if rows == "space" else ())
        space_top = int(np.clip(np.log2(max(space) / 4), 1, 12))
        time_top = int(np.log2(n)) - 1 if rows == "time" else 0
        channels = int(np.prod(shape[1 : len(shape) - inner])) * (n if rows == "channel" else 1)
        pool = min(channels - 1, 15)
        layout = Layout(rows, inner, time_top, space_top, min(time_top, 3), min(space_top, 3), pool)
        out.append(layout)
        if effort != "quick" and channels > 1:
            out.append(replace(layout, channel_pool=1, space_pool=2))
    return out


def fit(X: np.ndarray, stride: int, layout: Layout, seed: int) -> tuple[dict[Key, Rule], int]:
    """Return the rules of a layout, and the mean."""
    frames, mean = layout.frames(X), int(np.rint(X.mean()))
    noise = np.random.default_rng(seed).integers(-(stride // 2), stride // 2 + 1, frames.shape)
    decoded, errors = frames + noise, np.zeros(frames.shape, np.int64)
    sites: dict[Key, list[Site]] = {}
    total: dict[Key, int] = {}
    for (key, thin), (_, site) in zip(walk(layout, X.shape, _THIN), walk(layout, X.shape), strict=True):
        sites.setdefault(key, []).append(thin)
        total[key] = total.get(key, 0) + site.size
    rules: dict[Key, Rule] = {}

    def rule_of(key: Key, site: Site) -> Rule:
        if key not in rules:
            rules[key] = _weighed(_moments(frames, decoded, sites[key], mean), total[key], stride)
        return rules[key]

    def exchange(P: np.ndarray, scale: np.ndarray, law: int, points: tuple) -> np.ndarray:
        return nearest(frames[points].reshape(-1) - P, stride)

    run(layout, X.shape, mean, stride, rule_of, exchange, (decoded, errors))
    return _sized(frames, decoded, errors, sites, mean, stride, rules), mean


def _moments(frames: np.ndarray, decoded: np.ndarray, sites: list[Site], mean: int) -> Moments:
    """Return the products of gaps and target over some of a rule's points."""
    gram, points = np.zeros((0, 0)), 0
    for site in sites:
        if site.size and points <= _POINTS:
            view = View(site, decoded, decoded, mean)
            gaps = [view.gap(j) for j in range(view.gaps())]
            columns = [np.zeros(site.size) if v is None else v.astype(np.float64) for v in gaps]
            columns.append((frames[site.points].reshape(-1) - view.anchor).astype(np.float64))
            B = np.stack(columns, 1)
            gram = B.T @ B + (gram if points else 0)
            points += site.size
    return Moments(gram, points)


def _weighed(moments: Moments, total: int, stride: int) -> Rule:
    """Choose taps one by one as long as they pay, then as many bits of their weights as pay."""
    gram, points = moments
    p = len(gram) - 1
    S = gram.copy()
    S[np.arange(p), np.arange(p)] += points * max(stride, 1) ** 2 * 1e-4 + 1e-9
    ridged, chosen = S.copy(), []
    floor = points / 12 * 0.01
    alive = S.diagonal()[:p] > 1e-6
    while len(chosen) < min(p, 48):
        diagonal = S.diagonal()[:p]
        usable = alive & (diagonal > 1e-7 * ridged.diagonal()[:p])
        usable[chosen] = False
        gains = np.where(usable, S[:p, p] ** 2 / np.where(usable, diagonal, 1), 0)
        j = int(np.argmax(gains))
        rss = max(S[p, p], floor)
        left = max(S[p, p] - gains[j], floor)
        if _counting(total, left / points, stride) / 2 * np.log2(rss / left) < _TAP_BITS:
            break
        S = S - np.outer(S[:, j], S[j]) / S[j, j]
        chosen.append(j)
    if not chosen:
        return Rule((), (), SHIFTS[0], 2, ())
    taps = np.sort(chosen)
    G = ridged[np.ix_(taps, taps)]
    w = np.linalg.solve(G, ridged[taps, p])
    return _rounded(taps, w, G, max(S[p, p], floor), points, total, stride)


def _counting(total: int, variance: float, stride: int) -> float:
    """Return how many points count: of residuals far below a stride nearly all cost nothing anyway."""
    return total * min(1.0, 2 * np.sqrt(variance) / stride)


def _rounded(taps, w, G, rss, points, total, stride) -> Rule:
    best, fewest = Rule((), (), SHIFTS[0], 2, ()), np.inf
    for shift in SHIFTS:
        rounded = np.rint(w * 2.0**shift)
        if np.abs(rounded).max() >= 1 << 15:
            continue
        delta = rounded / 2.0**shift - w
        excess = float(delta @ G @ delta)
        bits = _counting(total, rss / points, stride) / 2 * np.log2(1 + excess / rss)
        bits += len(w) * (np.log2(np.abs(rounded).mean() + 0.5) + 2)
        if bits < fewest:
            keep = rounded != 0
            best = Rule(tuple(taps[keep].tolist()), tuple(rounded[keep].astype(int).tolist()), shift, 2, ())
            fewest = bits
    return best


def _sized(frames, decoded, errors, sites, mean, stride, rules) -> dict[Key, Rule]:
    """Add to every rule the law of its residuals and the weights of the sizes around."""
    out = {}
    for key, rule in rules.items():
        known, points = [], 0
        for site in sites[key]:
            if site.size and points <= _POINTS:
                view = View(site, decoded, errors, mean)
                P = view.predict(rule)
                sizes = [np.broadcast_to(view.size(i, P, stride), site.size) for i in range(view.sizes())]
                known.append((np.stack(sizes, 1), frames[site.points].reshape(-1) - P))
                points += site.size
        law, q = _likeliest(np.concatenate([s for s, _ in known]), np.concatenate([r for _, r in known]), stride)
        out[key] = replace(rule, law=law, sizes=q)
    return out


def _likeliest(sizes: np.ndarray, residuals: np.ndarray, stride: int) -> tuple[int, tuple[int, ...]]:
    """Weigh the sizes so that they say how large k will be; keep the law that then has the fewest bits."""
    from scipy.optimize import minimize

    k, start = nearest(residuals, stride), laws.LAWS.index("laplace")
    norms = sizes.mean(0)
    used = np.flatnonzero(norms > 0)
    some = np.linspace(0, len(k) - 1, min(len(k), _FITTED)).astype(int)
    A = sizes[np.ix_(some, used)] / norms[used] * (np.abs(residuals).mean() / stride + 0.05)
    theta = np.full(len(used), -np.log(len(used)))
    fitted = minimize(
        _bits,
        theta,
        (A, k[some], start),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-12, 6)] * len(used),
        options={"maxiter": 40},
    ).x
    c = np.zeros(len(norms))
    c[used] = np.exp(fitted) / norms[used] * (np.abs(residuals).mean() + 0.05 * stride)
    c[c * norms < 0.01 * (c * norms).sum()] = 0
    best, fewest = (start, tuple([0] * len(c))), np.inf
    for factor in np.arange(-3, 3) / 4:
        q = _quantised(c * 2.0**factor)
        scales = laws.scale_of(sizes @ size_weights()[q], stride)
        for law in range(len(laws.LAWS)):
            bits = float(laws.costs(k, scales, law).sum())
            if bits < fewest:
                best, fewest = (law, tuple(q.tolist())), bits
    return best


def _bits(theta: np.ndarray, A: np.ndarray, k: np.ndarray, law: int) -> tuple[float, np.ndarray]:
    """Return the bits of ``k`` with sizes A e^theta, between two scales in proportion, and their gradient."""
    parts = A * np.exp(theta)
    expected = np.maximum(parts.sum(1), 1e-9)
    place = np.clip(4 * np.log2(expected) + laws.FINEST, 0, 120)
    lower = np.floor(place).astype(np.int64)
    low, high = laws.costs(k, lower, law), laws.costs(k, lower + 1, law)
    slope = (high - low) * 4 / np.log(2) / expected
    return float((low + (high - low) * (place - lower)).sum()), slope @ parts


def _quantised(c: np.ndarray) -> np.ndarray:
    q = np.rint(4 * np.log2(np.maximum(c, 1e-12))) + 49
    return np.clip(q, 0, 63).astype(np.int64)
