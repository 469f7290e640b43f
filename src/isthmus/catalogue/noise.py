"""Denoising and contractive autoencoders: what keeps a code from copying is noise, or its own steepness."""

from isthmus.catalogue.entry import Entry, Option

VARIANTS = (
    Entry(
        "denoising",
        "learns to restore clean samples from corrupted ones",
        "Features that survive noise, samples that must be cleaned, and codes larger than the input.",
        "Data whose noise is the signal, such as rare spikes.",
        "sum (x - g(f(x + noise)))^2",
        "any",
        (Option("noise", "float", 0.3, "standard deviation of the noise, in units of the scaled data"),),
        "Vincent et al. 2010",
    ),
)
