"""Masked autoencoders, and those that read series step by step."""

from isthmus.catalogue.entry import Entry, Option

_PATCH = Option("patch", "int", "auto", "pixels a side, steps or features of a patch")

VARIANTS = (
    Entry(
        "masked",
        "is shown a part of each sample and fills in the rest",
        "Gaps to be filled, and samples of which parts will be missing.",
        "The smallest error on whole samples, which a model that sees them whole has.",
        "sum (x - g(f(shown patches of x)))^2 over all of x",
        "any",
        (Option("rate", "float", 0.75, "largest share of a sample that is hidden"), _PATCH),
        "He et al. 2022",
    ),
    Entry(
        "recurrent",
        "reads a series step by step into one state, and writes it from one",
        "Short windows whose steps follow from each other, and windows with stretches missing.",
        "Windows of hundreds of steps: a state forgets, and steps cannot be computed at once.",
        "sum (x - x_hat)^2,  h_t = cell(x_t, h_{t-1}),  z = W h_T + b",
        "series",
        (
            Option("hidden", "int", 64, "numbers of a state"),
            Option("layers", "int", 1, "cells on top of each other"),
            Option("cell", "str", "gru", "gru or lstm"),
            Option("bidirectional", "bool", False, "read from the end as well"),
        ),
        "Srivastava et al. 2015",
    ),
    Entry(
        "temporal",
        "looks at a series through convolutions of growing reach",
        "Series with shapes that may come at any time, long windows too.",
        "Windows of a few steps, where dense layers learn as much in less time.",
        "sum (x - x_hat)^2 with dilated convolutions for f and g",
        "series",
        (
            Option("channels", "ints", (32, 32, 32), "channels of each block"),
            Option("kernel", "int", 3, "steps a convolution sees"),
            Option("causal", "bool", False, "whether a step sees the past alone"),
        ),
        "Bai et al. 2018",
    ),
    Entry(
        "transformer",
        "cuts samples into patches, each of which may look at all others",
        "Images, series and tables whose parts explain each other over a distance.",
        "Haste: dense layers learn nearly as much of small samples in a tenth of the time.",
        "sum (x - x_hat)^2 with softmax(Q K^T / sqrt(d)) V between patches",
        "any",
        (
            Option("width", "int", 64, "numbers of a token"),
            Option("depth", "int", 1, "blocks on either side of the code"),
            Option("heads", "int", 4, "attentions of a block, which share its width"),
            _PATCH,
            Option("code", "str", "vector", "vector, mean or map"),
        ),
        "Vaswani et al. 2017; Dosovitskiy et al. 2021",
    ),
)
