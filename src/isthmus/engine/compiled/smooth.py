"""Activations and what they are made of, number by number, in a form that LLVM turns into vector instructions.

No call into a library of mathematics can be vectorised, so exp, tanh and log are polynomials here, good to about 1e-7.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from isthmus.engine.compiled.records import ELU, GELU, LEAKY_RELU, RELU, SIGMOID, SILU, TANH, Floats
from isthmus.engine.compiled.tile import INNER, apart, fast, intrinsic

f4: Any = np.float32
exact: Any = njit(fastmath={"contract"}, **INNER)
"""For sums whose order is what makes them right."""

HIGHEST, LOWEST = f4(88.0), f4(-87.0)
"""Between them lie the exponents whose exp is an ordinary float32."""
ROUNDING = f4(12582912.0)
"""1.5 * 2^23: a float32 that it is added to has no room left for a fraction."""
LOG2_E, LN2_HIGH, LN2_LOW = f4(1.44269504088896341), f4(0.693359375), f4(-2.12194440e-4)
SQRT_HALF, INVERSE_SQRT_TAU = f4(0.7071067811865476), f4(0.3989422804014327)
ZERO, HALF, ONE, TWO = f4(0.0), f4(0.5), f4(1.0), f4(2.0)


@intrinsic
def power_of_two(typing: Any, shifted: Any) -> Any:
    """2^n as float32, for n + ROUNDING: n stands in the last bits of it."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], ir.IntType(32))
        exponent = builder.add(builder.shl(bits, ir.IntType(32)(23)), ir.IntType(32)(0x3F800000))
        return builder.bitcast(exponent, ir.FloatType())

    return types.float32(types.float32), write


@exact
def exp(x: float) -> float:
    """e^x = 2^n e^r with n whole and |r| <= ln 2 / 2 (Cephes); cut where float32 ends. Not a number stays what it is."""
    x = HIGHEST if x > HIGHEST else x
    x = LOWEST if x < LOWEST else x
    shifted = x * LOG2_E + ROUNDING
    n = shifted - ROUNDING
    r = x - n * LN2_HIGH - n * LN2_LOW
    p = f4(1.9875691500e-4)
    p = p * r + f4(1.3981999507e-3)
    p = p * r + f4(8.3334519073e-3)
    p = p * r + f4(4.1665795894e-2)
    p = p * r + f4(1.6666665459e-1)
    p = p * r + f4(5.0000001201e-1)
    return (p * r * r + r + ONE) * power_of_two(shifted)


@exact
def tanh(x: float) -> float:
    """The rational function of Eigen: good to a few units in the last place, for small x too."""
    x = f4(7.90531110763549805) if x > f4(7.90531110763549805) else x
    x = f4(-7.90531110763549805) if x < f4(-7.90531110763549805) else x
    u = x * x
    p = f4(-2.76076847742355e-16)
    p = p * u + f4(2.00018790482477e-13)
    p = p * u + f4(-8.60467152213735e-11)
    p = p * u + f4(5.12229709037114e-08)
    p = p * u + f4(1.48572235717979e-05)
    p = p * u + f4(6.37261928875436e-04)
    p = p * u + f4(4.89352455891786e-03)
    q = f4(1.19825839466702e-06)
    q = q * u + f4(1.18534705686654e-04)
    q = q * u + f4(2.26843463243900e-03)
    q = q * u + f4(4.89352518554385e-03)
    return x * p / q


@exact
def sigmoid(x: float) -> float:
    """1 / (1 + e^-x), with as many digits near 0 as near 1."""
    e = exp(-abs(x))
    return (ONE if x >= ZERO else e) / (ONE + e)


@exact
def softplus(x: float) -> float:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|); with s = e / (2 + e) <= 1/3, log(1 + e) = 2 (s + s^3/3 + s^5/5 + ..)."""
    e = exp(-abs(x))
    s = e / (TWO + e)
    u = s * s
    p = f4(1 / 15)
    p = p * u + f4(1 / 13)
    p = p * u + f4(1 / 11)
    p = p * u + f4(1 / 9)
    p = p * u + f4(1 / 7)
    p = p * u + f4(1 / 5)
    p = p * u + f4(1 / 3)
    return (ZERO if x <= ZERO else x) + TWO * (p * u * s + s)


@exact
def normal_cdf(x: float, bell: float) -> float:
    """The normal distribution function, for bell = e^(-x^2/2): Abramowitz & Stegun 7.1.26, good to 1e-7."""
    t = ONE / (ONE + f4(0.3275911) * SQRT_HALF * abs(x))
    p = f4(1.061405429)
    p = p * t + f4(-1.453152027)
    p = p * t + f4(1.421413741)
    p = p * t + f4(-0.284496736)
    p = p * t + f4(0.254829592)
    tail = HALF * p * t * bell
    return tail if x < ZERO else ONE - tail


@fast
def activate(kind: int, a: Floats, slope: Floats) -> None:
    """a <- activation(a), slope <- its derivative there; (n,). The identity leaves both alone."""
    apart()
    n = len(a)
    if kind == RELU:
        for i in range(n):
            y = a[i]
            a[i] = ZERO if y <= ZERO else y
            slope[i] = ZERO if y <= ZERO else ONE
    elif kind == LEAKY_RELU:
        for i in range(n):
            y = a[i]
            s = f4(0.01) if y <= ZERO else ONE
            a[i] = s * y
            slope[i] = s
    elif kind == ELU:
        for i in range(n):
            y = a[i]
            t = tanh(HALF * y)
            below = TWO * t / (ONE - t)  # e^y - 1, with all its digits near 0
            a[i] = below if y <= ZERO else y
            slope[i] = below + ONE if y <= ZERO else ONE
    elif kind == SILU:
        for i in range(n):
            y = a[i]
            s = sigmoid(y)
            a[i] = y * s
            slope[i] = s * (ONE + y * (ONE - s))
    elif kind == GELU:
        for i in range(n):
            y = a[i]
            bell = exp(-HALF * y * y)
            below = normal_cdf(y, bell)
            a[i] = y * below
            slope[i] = below + y * INVERSE_SQRT_TAU * bell
    elif kind == TANH:
        for i in range(n):
            t = tanh(a[i])
            a[i] = t
            slope[i] = ONE - t * t
    elif kind == SIGMOID:
        for i in range(n):
            s = sigmoid(a[i])
            a[i] = s
            slope[i] = s * (ONE - s)
