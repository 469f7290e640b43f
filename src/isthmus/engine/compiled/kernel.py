"""A whole block of steps in one compiled call: forward, backward, Adam.

Nothing is drawn here: noise, corruptions and dropout come as data. Every number lies in one of a few flat arrays, and records
say where, so that all models share one compiled function, whatever they are made of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from isthmus.engine.compiled.judging import judge
from isthmus.engine.compiled.records import IDENTITY, Floats, Moving, Record, Rows
from isthmus.engine.compiled.smooth import HALF, ONE, ZERO, activate, exp, f4
from isthmus.engine.compiled.tile import FAST, NEXT, SAME, apart, fast, product

NARROWEST, WIDEST = f4(-20.0), f4(10.0)
"""The log variances that a Gaussian code may have."""


@fast
def span(numbers: Floats, first: int, n: int) -> Floats:
    """Return n numbers as a view."""
    return numbers[first : first + n]


@fast
def input_of(layer: Record, data: Rows, start: int, rows: int, work: Floats) -> Floats:
    """Return what a layer sees, (rows * inside)."""
    if layer.input < 0:
        return span(data.x, start * layer.inside, rows * layer.inside)
    return span(work, layer.input, rows * layer.inside)


@fast
def forward(layer: Record, data: Rows, start: int, rows: int, moving: Moving, model: Record, work: Floats) -> None:
    """output = dropout(activation(input W^T + b)); its slope stays for the way back."""
    apart()
    inside, outside, n = layer.inside, layer.outside, rows * layer.outside
    x, a, slope = input_of(layer, data, start, rows, work), span(work, layer.output, n), span(work, layer.slope, n)
    weight, bias = moving.parameters[layer.group][layer.weight :], span(work, model.zeros, outside)
    if layer.bias >= 0:
        bias = span(moving.parameters[layer.bias_group], layer.bias, outside)
    product(x, inside, NEXT, weight, NEXT, inside, bias, SAME, a, rows, outside, inside, work[model.panel :])
    activate(layer.activation, a, slope)
    if layer.kept >= 0:
        kept = span(data.kept, layer.kept * len(data.weight) + start * outside, n)
        for i in range(n):
            a[i] *= kept[i]
            slope[i] = kept[i] if layer.activation == IDENTITY else slope[i] * kept[i]


@fast
def backward(layer: Record, data: Rows, start: int, rows: int, moving: Moving, model: Record, work: Floats) -> None:
    """Write the gradients of a layer and of its input, given that of its output, which is overwritten."""
    apart()
    inside, outside, n = layer.inside, layer.outside, rows * layer.outside
    zeros, panel, d = work[model.zeros :], work[model.panel :], span(work, layer.d_output, n)
    if layer.activation != IDENTITY or layer.kept >= 0:
        slope = span(work, layer.slope, n)
        for i in range(n):
            d[i] *= slope[i]
    weight_gradient(layer, input_of(layer, data, start, rows, work), d, rows, moving, model, work)
    if layer.bias >= 0:
        into = span(moving.gradients[layer.bias_group], layer.bias, outside)
        product(work[model.one :], SAME, SAME, d, outside, NEXT, zeros, SAME, into, NEXT, outside, rows, panel)
    if layer.d_input >= 0:
        weight, d_x = moving.parameters[layer.group][layer.weight :], work[layer.d_input :]
        product(d, outside, NEXT, weight, inside, NEXT, zeros, SAME, d_x, rows, inside, outside, panel)


@fast
def weight_gradient(
    layer: Record, x: Floats, d: Floats, rows: int, moving: Moving, model: Record, work: Floats
) -> None:
    """dW = d^T x."""
    apart()
    into, zeros = moving.gradients[layer.group][layer.weight :], work[model.zeros :]
    product(
        d,
        NEXT,
        layer.outside,
        x,
        layer.inside,
        NEXT,
        zeros,
        SAME,
        into,
        layer.outside,
        layer.inside,
        rows,
        work[model.panel :],
    )


@fast
def sample(h: Floats, noise: Floats, weight: Floats, spread: Floats, z: Floats, rows: int) -> float:
    """z = mu + s e; return KL, summed. ``spread`` becomes s, beside a half that means nothing."""
    apart()
    k, total = len(z) // rows, 0.0
    for i in range(len(h)):
        v = h[i]
        v = WIDEST if v > WIDEST else (NARROWEST if v < NARROWEST else v)
        spread[i] = exp(HALF * v)
    for r in range(rows):
        mu, log_var, s = span(h, 2 * r * k, k), span(h, (2 * r + 1) * k, k), span(spread, (2 * r + 1) * k, k)
        e, here, part = span(noise, r * k, k), span(z, r * k, k), ZERO
        for j in range(k):
            v = log_var[j]
            v = WIDEST if v > WIDEST else (NARROWEST if v < NARROWEST else v)
            here[j] = mu[j] + s[j] * e[j]
            part += mu[j] * mu[j] + (s[j] * s[j] - ONE) - v
        total += HALF * part * weight[r]
    return total


@fast
def unsample(
    h: Floats, noise: Floats, weight: Floats, spread: Floats, d: Floats, d_h: Floats, beta: float, rows: int
) -> None:
    """From the gradient d of z: mu gets d + beta mu, log s^2 gets (d e s + beta (s^2 - 1)) / 2, where it was not cut."""
    apart()
    k = len(d) // rows
    for r in range(rows):
        mu, log_var, s = span(h, 2 * r * k, k), span(h, (2 * r + 1) * k, k), span(spread, (2 * r + 1) * k, k)
        d_mu, d_log_var = span(d_h, 2 * r * k, k), span(d_h, (2 * r + 1) * k, k)
        e, g, pull = span(noise, r * k, k), span(d, r * k, k), weight[r] * f4(beta / rows)
        for j in range(k):
            both = HALF * (g[j] * e[j] * s[j] + pull * (s[j] * s[j] - ONE))
            d_mu[j] = g[j] + pull * mu[j]
            d_log_var[j] = ZERO if log_var[j] > WIDEST or log_var[j] < NARROWEST else both


@fast
def cut(z: Floats, reach: float, seen: Floats, is_inside: Floats) -> None:
    """seen = z within its reach."""
    for i in range(len(z)):
        v = z[i]
        seen[i] = reach if v > reach else (-reach if v < -reach else v)
        is_inside[i] = ZERO if v > reach or v < -reach else ONE


@fast
def size_of(z: Floats, weight: Floats, rows: int) -> float:
    """sum |z|, each row by its weight."""
    k, total = len(z) // rows, 0.0
    for r in range(rows):
        here, part = span(z, r * k, k), ZERO
        for j in range(k):
            part += abs(here[j])
        total += part * weight[r]
    return total


@fast
def pull_inwards(z: Floats, weight: Floats, d: Floats, l1: float, rows: int) -> None:
    """Add the gradient of l1 times the mean over the rows of sum |z|."""
    k = len(z) // rows
    for r in range(rows):
        here, into, pull = span(z, r * k, k), span(d, r * k, k), l1 * weight[r] / f4(rows)
        for j in range(k):
            v = here[j]
            into[j] += pull if v > ZERO else (-pull if v < ZERO else ZERO)


@fast
def encode(
    model: Record, layers: Any, data: Rows, start: int, rows: int, beta: float, moving: Moving, work: Floats, sums: Any
) -> None:
    """Write code and decoder's input; add the terms of the code - beta KL, sum |z| - to the sums."""
    apart()
    before, after, way_in = layers[model.encoder - 1], layers[model.encoder], layers[-2]
    d, n_h, n_z = way_in.inside, rows * before.outside, rows * after.inside
    for place in range(model.encoder):
        forward(layers[place], data, start, rows, moving, model, work)
    h, z, weight = span(work, before.output, n_h), span(work, model.code, n_z), span(data.weight, start, rows)
    if model.is_gaussian:
        noise, spread = span(data.noise, start * after.inside, n_z), span(work, model.spread, n_h)
        sums[1] += beta * sample(h, noise, weight, spread, z, rows)
    if model.has_shortcut:  # z = h + E x
        x, e = span(data.straight, start * d, rows * d), moving.parameters[way_in.group][way_in.weight :]
        product(x, d, NEXT, e, NEXT, d, h, after.inside, z, rows, after.inside, d, work[model.panel :])
        cut(z, model.reach, span(work, after.input, n_z), span(work, model.is_inside, n_z))
    if model.l1 != ZERO:
        sums[2] += size_of(z, weight, rows)


@fast
def decode(
    model: Record, layers: Any, data: Rows, start: int, rows: int, moving: Moving, work: Floats, sums: Any
) -> None:
    """Add the reconstruction term to the sums; write the gradient of x_hat, and what the linear way gives that of z."""
    apart()
    last, way_out, panel = layers[-3], layers[-1], work[model.panel :]
    k, d, n = way_out.inside, last.outside, rows * last.outside
    for place in range(model.encoder, len(layers) - 2):
        forward(layers[place], data, start, rows, moving, model, work)
    x_hat, d_x_hat, z = span(work, model.x_hat, n), span(work, last.d_output, n), span(work, model.code, rows * k)
    way = moving.parameters[way_out.group][way_out.weight :]
    if model.has_shortcut:  # x_hat = network(z) + D z
        product(z, k, NEXT, way, NEXT, k, span(work, last.output, n), d, x_hat, rows, d, k, panel)
    target, known = span(data.target, start * d, n), span(data.known, start * d, min(n, len(data.known)))
    log_var = moving.parameters[model.log_var_group][model.log_var :]
    d_log_var = moving.gradients[model.log_var_group][model.log_var :]
    sums[0] += judge(model.loss, model.delta, x_hat, target, known, d_x_hat, rows, log_var, d_log_var)
    if model.has_shortcut:
        weight_gradient(way_out, z, d_x_hat, rows, moving, model, work)
        zeros, d_z = work[model.zeros :], span(work, model.d_code, rows * k)
        product(d_x_hat, d, NEXT, way, k, NEXT, zeros, SAME, d_z, rows, k, d, panel)


@fast
def go_back(
    model: Record, layers: Any, data: Rows, start: int, rows: int, beta: float, moving: Moving, work: Floats
) -> None:
    """Write the gradients of all layers."""
    apart()
    before, after, way_in = layers[model.encoder - 1], layers[model.encoder], layers[-2]
    d, n_h, n_z = way_in.inside, rows * before.outside, rows * after.inside
    for place in range(len(layers) - 3, model.encoder - 1, -1):
        backward(layers[place], data, start, rows, moving, model, work)
    z, d_z, weight = span(work, model.code, n_z), span(work, model.d_code, n_z), span(data.weight, start, rows)
    if model.has_shortcut:
        d_seen, is_inside = span(work, after.d_input, n_z), span(work, model.is_inside, n_z)
        for i in range(n_z):
            d_z[i] += d_seen[i] * is_inside[i]
    if model.l1 != ZERO:
        pull_inwards(z, weight, d_z, model.l1, rows)
    if model.has_shortcut:
        weight_gradient(way_in, span(data.straight, start * d, rows * d), d_z, rows, moving, model, work)
    if model.is_gaussian:
        h, d_h, spread = span(work, before.output, n_h), span(work, before.d_output, n_h), span(work, model.spread, n_h)
        unsample(h, span(data.noise, start * after.inside, n_z), weight, spread, d_z, d_h, beta, rows)
    for place in range(model.encoder - 1, -1, -1):
        backward(layers[place], data, start, rows, moving, model, work)


@fast
def adam(moving: Moving, group: int, settings: Any, rate: float, count: int) -> None:
    """Take the ``count``-th step of Adam with decoupled decay, in one pass over a group of parameters."""
    apart()
    p, g, m, v = moving.parameters[group], moving.gradients[group], moving.mean[group], moving.square[group]
    beta1, beta2, eps, decay = settings[0], settings[1], f4(settings[2]), settings[3 + group]
    kept, pace, root = f4(1 - rate * decay), f4(rate / (1 - beta1**count)), f4(1 / np.sqrt(1 - beta2**count))
    old1, new1, old2, new2 = f4(beta1), f4(1 - beta1), f4(beta2), f4(1 - beta2)
    for i in range(len(p)):
        mean = old1 * m[i] + new1 * g[i]
        square = old2 * v[i] + new2 * g[i] * g[i]
        m[i] = mean
        v[i] = square
        p[i] = kept * p[i] - pace * mean / (np.sqrt(square) * root + eps)


def made() -> Callable[..., Any]:
    """Return the compiled function; numba keeps its machine code on disk, where there is a place it may write to."""
    # numba looks at the age of this file alone, but at every variable the function closes over: so at the text of all of them
    texts = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    version = hashlib.sha256(texts).hexdigest()

    def take_steps(
        model: Record,
        layers: Any,
        data: Rows,
        sizes: Any,
        rates: Any,
        betas: Any,
        moving: Moving,
        adam_settings: Any,
        count: int,
        work: Floats,
        sums: Any,
    ) -> None:
        """Take len(sizes) steps, ``count`` having been taken before; add their terms to the sums."""
        version  # noqa: B018 - part of the key under which the machine code is kept
        start = SAME
        for s in range(len(sizes)):
            encode(model, layers, data, start, sizes[s], betas[s], moving, work, sums)
            decode(model, layers, data, start, sizes[s], moving, work, sums)
            go_back(model, layers, data, start, sizes[s], betas[s], moving, work)
            for group in range(2):
                adam(moving, group, adam_settings, rates[s], count + s + 1)
            start += sizes[s]

    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": FAST}
    try:
        return njit(cache=True, **settings)(take_steps)
    except RuntimeError:  # no folder to write to: it is compiled anew in every process
        return njit(**settings)(take_steps)
