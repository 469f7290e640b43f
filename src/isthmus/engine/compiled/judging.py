"""Reconstructions with their gradient, over flat arrays."""

from __future__ import annotations

from isthmus.engine.compiled.records import HUBER, LOG_LOSS, NORMAL, Floats
from isthmus.engine.compiled.smooth import HALF, ONE, ZERO, exp, f4, sigmoid, softplus
from isthmus.engine.compiled.tile import apart, fast

CHUNK = 4096
"""How many numbers are summed in float32 before the sum is added to one in float64."""
LOG_TAU, FLOOR = f4(1.8378770664093453), f4(-7.0)
"""log 2 pi, and the log variance below which a likelihood learns nothing."""


@fast
def judge(
    kind: int,
    delta: float,
    x_hat: Floats,
    target: Floats,
    known: Floats,
    d: Floats,
    rows: int,
    log_var: Floats,
    d_log_var: Floats,
) -> float:
    """Return the sum of the errors, each times its ``known`` weight; d becomes the gradient of their mean over the rows.

    x_hat is overwritten. Only a normal likelihood reads log_var, (1,), and writes its gradient.
    """
    apart()
    scale = ONE / f4(rows)
    if kind == LOG_LOSS:
        total = log_loss(x_hat, target, known, d)
    elif kind == HUBER:
        total = huber(delta, x_hat, target, known, d)
    else:
        residual(x_hat, target, known, d)
        for i in range(len(d)):
            x_hat[i] = d[i]
        weigh(d, known)
        total = dot(x_hat, d)
        scale += scale
    if kind == NORMAL:
        # the clamp of the log variance lets no gradient through below its floor
        lowest = FLOOR if log_var[0] < FLOOR else log_var[0]
        precision = exp(-lowest)
        count = float(len(d)) if len(known) == 0 else total_of(known)
        d_log_var[0] = ZERO if log_var[0] < FLOOR else f4((count - total * precision) * 0.5 / rows)
        total = 0.5 * ((lowest + LOG_TAU) * count + total * precision)
        scale *= HALF * precision
    for i in range(len(d)):
        d[i] *= scale
    return total


@fast
def huber(delta: float, x_hat: Floats, target: Floats, known: Floats, d: Floats) -> float:
    """With c = clip(r, -delta, delta) for r = x_hat - x, the error is c (r - c / 2) and its gradient is c (Huber 1964)."""
    residual(x_hat, target, known, d)
    for i in range(len(d)):
        r = d[i]
        c = delta if r > delta else (-delta if r < -delta else r)
        x_hat[i] = r - HALF * c
        d[i] = c
    weigh(d, known)
    return dot(x_hat, d)


@fast
def log_loss(x_hat: Floats, target: Floats, known: Floats, d: Floats) -> float:
    """-log p(x) of x in [0, 1] under sigmoid(x_hat); what lies outside counts as an error of its own."""
    for i in range(len(d)):
        x, y = target[i], x_hat[i]
        inside = ONE if x > ONE else (ZERO if x < ZERO else x)
        x_hat[i] = softplus(y) - inside * y + (x - inside) * (x - inside)
        d[i] = sigmoid(y) - inside
    if len(known) == 0:
        return total_of(x_hat)
    for i in range(len(d)):
        x_hat[i] = ZERO if known[i] == ZERO else x_hat[i]
        d[i] = ZERO if known[i] == ZERO else d[i]
    weigh(d, known)
    return dot(x_hat, known)


@fast
def residual(x_hat: Floats, target: Floats, known: Floats, d: Floats) -> None:
    """d = x_hat - target, 0 at gaps: a gap may hold anything, and 0 times that need not be 0."""
    if len(known) == 0:
        for i in range(len(d)):
            d[i] = x_hat[i] - target[i]
    else:
        for i in range(len(d)):
            r = x_hat[i] - target[i]
            d[i] = ZERO if known[i] == ZERO else r


@fast
def weigh(d: Floats, known: Floats) -> None:
    """Multiply by the weight of each number, where there are any."""
    for i in range(len(known)):
        d[i] *= known[i]


@fast
def dot(a: Floats, b: Floats) -> float:
    """Return sum a b."""
    total = 0.0
    for first in range(0, len(a), CHUNK):  # slices: numba cannot vectorise an index that it takes to be negative
        some, others, part = a[first : first + CHUNK], b[first : first + CHUNK], ZERO
        for i in range(len(some)):
            part += some[i] * others[i]
        total += part
    return total


@fast
def total_of(a: Floats) -> float:
    """Return sum a."""
    total = 0.0
    for first in range(0, len(a), CHUNK):
        some, part = a[first : first + CHUNK], ZERO
        for i in range(len(some)):
            part += some[i]
        total += part
    return total
