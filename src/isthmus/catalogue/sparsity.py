"""Sparse autoencoders: few numbers of a code are not zero for any one sample."""

from isthmus.catalogue.entry import Entry, Option

VARIANTS = (
    Entry(
        "sparse",
        "a code of which few numbers are not zero for any one sample",
        "Features that people can read: each stands for one thing that is there or not.",
        "The smallest reconstruction error for a given code size.",
        "sum (x - x_hat)^2 + weight * sum |z|,  z = max(0, h)",
        "any",
        (Option("weight", "float", 1e-2, "weight of the L1 penalty on the code"),),
        "Ng 2011",
    ),
)
