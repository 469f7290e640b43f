"""Variational autoencoders: a code with a prior."""

from isthmus.catalogue.entry import Entry, Option

VARIANTS = (
    Entry(
        "variational",
        "a code with a prior, from which new samples can be drawn",
        "New samples, smooth walks between samples, and densities.",
        "The smallest reconstruction error: noise on the code costs some.",
        "-log p(x | z) + beta * KL(q(z | x) || N(0, 1))",
        "any",
        (Option("beta", "float", 1.0, "weight of the KL term; 1 is the evidence lower bound"),),
        "Kingma & Welling 2014",
    ),
)
