"""The catalogue: which variants there are. Plain data, free of torch, so that help texts and menus cost nothing."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple


class Option(NamedTuple):
    """A parameter of a variant's own, beside those every Autoencoder takes."""

    name: str
    kind: Literal["int", "float", "str", "ints"]
    default: Any
    help: str


class Entry(NamedTuple):
    """A variant: its function in ``isthmus.variants``, what it is, and what it learns from."""

    name: str
    summary: str
    inputs: Literal["any", "images"]
    options: tuple[Option, ...]
    source: str


VARIANTS: tuple[Entry, ...] = (
    Entry("vanilla", "one hidden layer, and that layer is the code", "any", (), "Rumelhart, Hinton & Williams 1986"),
    Entry(
        "deep",
        "several hidden layers; the decoder is the encoder's mirror image",
        "any",
        (Option("hidden", "ints", (256, 128), "widths of the encoder's layers"),),
        "Hinton & Salakhutdinov 2006",
    ),
    Entry(
        "denoising",
        "learns to restore clean samples from corrupted ones",
        "any",
        (Option("noise", "float", 0.3, "standard deviation of the noise, in units of the scaled data"),),
        "Vincent et al. 2010",
    ),
    Entry(
        "sparse",
        "a code of which few numbers are not zero for any one sample",
        "any",
        (Option("weight", "float", 1e-2, "weight of the L1 penalty on the code"),),
        "Ng 2011",
    ),
    Entry(
        "convolutional",
        "looks at images through small windows, the same everywhere",
        "images",
        (
            Option("channels", "ints", "auto", "channels of each stage that halves the image"),
            Option("down", "str", "strided", "strided or pool"),
            Option("up", "str", "transposed", "transposed or resize"),
        ),
        "Masci et al. 2011",
    ),
    Entry(
        "variational",
        "a code with a prior, from which new samples can be drawn",
        "any",
        (Option("beta", "float", 1.0, "weight of the KL term; 1 is the evidence lower bound"),),
        "Kingma & Welling 2014",
    ),
)
