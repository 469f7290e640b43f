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
from isthmus.engine.compiled.records import IDENTITY
from isthmus.engine.compiled.smooth import HALF, ONE, ZERO, activate, exp, f4
from isthmus.engine.compiled.tile import FAST, NEXT, SAME, apart, fast, product

NARROWEST, WIDEST = f4(-20.0), f4(10.0)
"""The log variances that a Gaussian code may have."""

@fast
def span(numbers, first, n):
    return numbers[first : first + n]


@fast
def input_of(layer, data, start, rows, work):
    if layer.input < 0:
        return span(data.x, start * layer.inside, rows * layer.inside)
    return span(work, layer.input, rows * layer.inside)


@fast
def forward(layer, data, start, rows, moving, model, work):
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
def backward(layer, data, start, rows, moving, model, work):
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
def weight_gradient(layer, x, d, rows, moving, model, work):
    """dW = d^T x."""
    apart()
    into, zeros = moving.gradients[layer.group][layer.weight :], work[model.zeros :]
    product(d, NEXT, layer.outside, x, layer.inside, NEXT, zeros, SAME, into, layer.outside, layer.inside, rows, work[model.panel :])


@fast
def sample(h, noise, weight, spread, z, rows):
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
def unsample(h, noise, weight, spread, d, d_h, beta, rows):
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
def cut(z, reach, seen, is_inside):
    """seen = z within its reach."""
    for i in range(len(z)):
        v = z[i]
        seen[i] = reach if v > reach else (-reach if v < -reach else v)
        is_inside[i] = ZERO if v > reach or v < -reach else ONE


@fast
def size_of(z, weight, rows):
    """sum |z|, each row by its weight."""
    k, total = len(z) // rows, 0.0
    for r in range(rows):
        here, part = span(z, r * k, k), ZERO
        for j in range(k):
            part += abs(here[j])
        total += part * weight[r]
    return total


@fast
def pull_inwards(z, weight, d, l1, rows):
    """Add the gradient of l1 times the mean over the rows of sum |z|."""
    k = len(z) // rows
    for r in range(rows):
        here, into, pull = span(z, r * k, k), span(d, r * k, k), l1 * weight[r] / f4(rows)
        for j in range(k):
            v = here[j]
            into[j] += pull if v > ZERO else (-pull if v < ZERO else ZERO)


@fast
def step(model, layers, data, start, rows, beta, moving, work, sums):
    """Write every gradient of one step; add its terms - reconstruction, beta KL, sum |z| - to the sums."""
    apart()
    n_layers = len(layers) - 2
    before, after, last, way_in, way_out = layers[model.encoder - 1], layers[model.encoder], layers[-3], layers[-2], layers[-1]
    d_in, k, d_out = way_in.inside, after.inside, last.outside
    zeros, panel = work[model.zeros :], work[model.panel :]
    weight, noise = span(data.weight, start, rows), span(data.noise, start * k, rows * k)
    straight = span(data.straight, start * d_in, rows * d_in)
    h, spread = span(work, before.output, rows * before.outside), span(work, model.spread, rows * before.outside)
    z, seen, is_inside = span(work, model.code, rows * k), span(work, after.input, rows * k), span(work, model.is_inside, rows * k)

    for place in range(model.encoder):
        forward(layers[place], data, start, rows, moving, model, work)
    if model.is_gaussian:
        sums[1] += beta * sample(h, noise, weight, spread, z, rows)
    if model.has_shortcut:  # z = h + E x
        e = moving.parameters[way_in.group][way_in.weight :]
        product(straight, d_in, NEXT, e, NEXT, d_in, h, k, z, rows, k, d_in, panel)
        cut(z, model.reach, seen, is_inside)
    if model.l1 > ZERO:
        sums[2] += size_of(z, weight, rows)
    for place in range(model.encoder, n_layers):
        forward(layers[place], data, start, rows, moving, model, work)
    x_hat, d = span(work, model.x_hat, rows * d_out), span(work, last.d_output, rows * d_out)
    if model.has_shortcut:  # x_hat = network(seen) + D z
        out = moving.parameters[way_out.group][way_out.weight :]
        product(z, k, NEXT, out, NEXT, k, span(work, last.output, rows * d_out), d_out, x_hat, rows, d_out, k, panel)

    known = data.known if len(data.known) == 0 else span(data.known, start * d_out, rows * d_out)
    target = span(data.target, start * d_out, rows * d_out)
    log_var = moving.parameters[model.log_var_group][model.log_var :]
    d_log_var = moving.gradients[model.log_var_group][model.log_var :]
    sums[0] += judge(model.loss, model.delta, x_hat, target, known, d, rows, log_var, d_log_var)

    d_z, d_seen = span(work, model.d_code, rows * k), span(work, after.d_input, rows * k)
    if model.has_shortcut:
        weight_gradient(way_out, z, d, rows, moving, model, work)
        out = moving.parameters[way_out.group][way_out.weight :]
        product(d, d_out, NEXT, out, k, NEXT, zeros, SAME, d_z, rows, k, d_out, panel)
    for place in range(n_layers - 1, model.encoder - 1, -1):
        backward(layers[place], data, start, rows, moving, model, work)
    if model.has_shortcut:
        for i in range(rows * k):
            d_z[i] += d_seen[i] * is_inside[i]
    if model.l1 > ZERO:
        pull_inwards(z, weight, d_z, model.l1, rows)
    if model.has_shortcut:
        weight_gradient(way_in, straight, d_z, rows, moving, model, work)
    if model.is_gaussian:
        unsample(h, noise, weight, spread, d_z, span(work, before.d_output, len(h)), beta, rows)
    for place in range(model.encoder - 1, -1, -1):
        backward(layers[place], data, start, rows, moving, model, work)


@fast
def adam(p, g, m, v, rate, decay, count, beta1, beta2, eps):
    """One step of Adam with decoupled decay over flat parameters."""
    apart()
    kept, pace, root = f4(1 - rate * decay), f4(rate / (1 - beta1**count)), f4(1 / np.sqrt(1 - beta2**count))
    old1, new1, old2, new2, least = f4(beta1), f4(1 - beta1), f4(beta2), f4(1 - beta2), f4(eps)
    for i in range(len(p)):
        mean = old1 * m[i] + new1 * g[i]
        square = old2 * v[i] + new2 * g[i] * g[i]
        m[i] = mean
        v[i] = square
        p[i] = kept * p[i] - pace * mean / (np.sqrt(square) * root + least)


def kernel() -> Callable[..., Any]:
    """Return the compiled function; numba keeps its machine code on disk, where there is a place it may write to."""
    # numba looks at the age of this file alone, but at every variable the function closes over: so at the text of all of them
    texts = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    version = hashlib.sha256(texts).hexdigest()

    def take_steps(model, layers, sizes, rates, betas, data, moving, decays, count, adam_settings, work, sums):
        """Take len(sizes) steps, ``count`` having been taken before; add their terms to the sums."""
        version  # noqa: B018
        start = SAME
        for s in range(len(sizes)):
            step(model, layers, data, start, sizes[s], betas[s], moving, work, sums)
            for group in range(2):
                adam(
                    moving.parameters[group],
                    moving.gradients[group],
                    moving.mean[group],
                    moving.square[group],
                    rates[s],
                    decays[group],
                    count + s + 1,
                    adam_settings[0],
                    adam_settings[1],
                    adam_settings[2],
                )
            start += sizes[s]

    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": FAST}
    try:
        return njit(cache=True, **settings)(take_steps)
    except RuntimeError:  # no folder to write to: it is compiled anew in every process
        return njit(**settings)(take_steps)
