"""How a lattice learns: least squares on what the decoder will have seen, as few taps as pay for their bytes, and sizes by their likelihood.

1. weights from X with the noise of quantisation added     2. a walk with them     3. weights from what the walk decoded
4. a walk with these     5. sizes and laws from its residuals     6. the layout whose bytes are fewest
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from isthmus.apps.compression.engines import laws
from isthmus.apps.compression.engines.engine import nearest
from isthmus.apps.compression.engines.lattice_plan import Layout
from isthmus.apps.compression.engines.lattice_rules import SHIFTS, Key, Rule, View, plain, size_weights, walk
from isthmus.apps.compression.grid import exp2

_THIN = 1 << 15
_POINTS = 1 << 17
"""Points of a rule that are looked at: in one site, and in all."""
_TAP_BITS = 11.0
"""What a tap costs in the model, about."""


class Moments(NamedTuple):
    """The products of taps and target (p + 1, p + 1), over how many points, standing for how many."""

    gram: np.ndarray
    points: int
    total: int


def learn(X: np.ndarray, stride: int, seed: int, effort: str) -> tuple[Layout, tuple, int, dict[Key, Rule]] | None:
    """Return layout, shape, mean and rules of the lattice with the fewest bytes."""
    from isthmus.apps.compression.engines.lattice import Lattice

    best, fewest = None, None
    for layout in layouts(X.shape, effort):
        rules, mean = fit(X, stride, layout, seed)
        lattice = Lattice(layout, X.shape, mean, rules)
        size = len(lattice.to_bytes()) + len(lattice.encode(X, stride)[0])
        if fewest is None or size < fewest:
            best, fewest = (layout, X.shape, mean, rules), size
    return best


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
    from isthmus.apps.compression.engines.lattice import run

    frames, mean = layout.frames(X), int(np.rint(X.mean()))
    noise = np.random.default_rng(seed).integers(-(stride // 2), stride // 2 + 1, frames.shape)
    decoded, rules = frames + noise, {}
    for _ in range(2):
        moments = _moments(frames, decoded, layout, X.shape, mean, stride)
        rules = {key: rule for key, m in moments.items() if (rule := _weighed(m, stride)) is not None}

        def exchange(P: np.ndarray, scale: np.ndarray, law: int, points: tuple) -> np.ndarray:
            return nearest(frames[points].reshape(-1) - P, stride)

        decoded, errors = run(layout, X.shape, mean, stride, lambda key, site: _complete(rules.get(key), site), exchange)
    return _sized(frames, decoded, errors, layout, X.shape, mean, stride, rules), mean


def _complete(rule: Rule | None, site) -> Rule | None:
    return None if rule is None else replace(rule, sizes=())


def _moments(frames, decoded, layout, shape, mean, stride) -> dict[Key, Moments]:
    """Return the products of taps, less the first, and target, rule by rule."""
    found: dict[Key, Moments] = {}
    nothing = np.zeros_like(decoded[:0])
    for (key, site), (_, whole) in zip(walk(layout, shape, _THIN), walk(layout, shape), strict=True):
        before = found.get(key)
        if not site.size or (before and before.points > _POINTS):
            if before:
                found[key] = before._replace(total=before.total + whole.size)
            continue
        view = View(site, decoded, nothing, mean)
        taps = [view.tap(j) for j in range(len(site.turn.near) + len(site.step.references) * view.around)]
        columns = [np.zeros(site.size) if v is None else (v - view.anchor).astype(np.float64) for v in taps]
        columns.append((frames[site.points].reshape(-1) - view.anchor).astype(np.float64))
        B = np.stack(columns, 1)
        gram = B.T @ B
        if before:
            found[key] = Moments(before.gram + gram, before.points + site.size, before.total + whole.size)
        else:
            found[key] = Moments(gram, site.size, whole.size)
    return found


def _weighed(moments: Moments, stride: int) -> Rule | None:
    """Choose taps one by one as long as they pay, then as many bits of their weights as pay."""
    gram, points, total = moments
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


def _rounded(taps, w, G, rss, points, total, stride) -> Rule | None:
    best, fewest = None, np.inf
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


def _sized(frames, decoded, errors, layout, shape, mean, stride, rules) -> dict[Key, Rule]:
    """Add to every rule the law of its residuals and the weights of the sizes around."""
    found: dict[Key, list] = {}
    for key, site in walk(layout, shape, _THIN):
        known = found.setdefault(key, [])
        if not site.size or sum(len(r) for _, r in known) > _POINTS:
            continue
        view = View(site, decoded, errors, mean)
        P = view.predict(rules.get(key) or plain(site))
        sizes = [view.size(i, P, stride) for i in range(view.sizes())]
        columns = np.stack([np.broadcast_to(s, site.size) for s in sizes], 1)
        known.append((columns.astype(np.int64), frames[site.points].reshape(-1) - P))
    out = {}
    for key, known in found.items():
        if key in rules and known:
            sizes = np.concatenate([s for s, _ in known])
            residuals = np.concatenate([r for _, r in known])
            law, q = _likeliest(sizes, residuals, stride)
            out[key] = replace(rules[key], law=law, sizes=q)
    return out


def _likeliest(sizes: np.ndarray, residuals: np.ndarray, stride: int) -> tuple[int, tuple[int, ...]]:
    """Weigh the sizes so that they say how large residuals will be; keep the law that then has the fewest bits."""
    from scipy.optimize import nnls

    y = np.maximum(np.abs(residuals), 0.1 * stride)
    norms = np.linalg.norm(sizes, axis=0) / np.sqrt(len(sizes))
    A = sizes / np.where(norms > 0, norms, 1)
    expected = np.full(len(y), y.mean())
    c = np.zeros(A.shape[1])
    for _ in range(4):
        certain = 1 / np.maximum(expected, 0.05 * stride)
        c, _ = nnls(A * certain[:, None], y * certain)
        expected = np.maximum(A @ c, 1e-3 * stride)
    c = np.where(norms > 0, c / np.where(norms > 0, norms, 1), 0)
    c[(c * norms) < 0.02 * (c * norms).sum()] = 0
    k = nearest(residuals, stride)
    best, fewest = (2, tuple([0] * len(c))), np.inf
    for factor in np.arange(-4, 3) / 4:
        q = _quantised(c * 2.0**factor)
        scales = laws.scale_of(sizes @ size_weights()[q], stride)
        for law in range(len(laws.LAWS)):
            bits = float(laws.costs(k, scales, law).sum())
            if bits < fewest:
                best, fewest = (law, tuple(q.tolist())), bits
    return best


def _quantised(c: np.ndarray) -> np.ndarray:
    q = np.rint(4 * np.log2(np.maximum(c, 1e-12))) + 25
    return np.where(c > 0, np.clip(q, 1, 63), 0).astype(np.int64)
