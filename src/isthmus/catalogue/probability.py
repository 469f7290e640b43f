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
    Entry(
        "importance_weighted",
        "a variational autoencoder on a tighter bound, from several codes a sample",
        "Densities: comparing models by likelihood, and codes that keep more than the plain bound lets them.",
        "Short training times: every step decodes each sample several times.",
        "-log 1/k sum_i p(x | z_i) p(z_i) / q(z_i | x),  z_i ~ q(z | x)",
        "any",
        (Option("samples", "int", 8, "codes drawn for each sample"),),
        "Burda, Grosse & Salakhutdinov 2016",
    ),
    Entry(
        "hierarchical",
        "two levels of code: a second, smaller one draws the prior of the first",
        "New samples of data with structure at two scales, such as kinds and their variations.",
        "Small data, where the upper code stays unused; variational() does the same with less.",
        "-log p(x | z1) + KL(q(z1 | x, z2) || p(z1 | z2)) + KL(q(z2 | x) || N(0, 1))",
        "any",
        (
            Option("top_dim", "int", "auto", "numbers of the upper code; auto is half of the lower one"),
            Option("warm_up", "float", 0.5, "share of the training over which the KL terms gain their weight"),
        ),
        "Sonderby et al. 2016",
    ),
    Entry(
        "mixture_prior",
        "a prior that is learned: the mixture of what the encoder makes of some made-up samples",
        "New samples of data in groups, which one normal distribution would blur into each other.",
        "Codes that must be near N(0, 1), for walks and arithmetic.",
        "-log p(x | z) + log q(z | x) - log 1/K sum_k q(z | u_k)",
        "any",
        (Option("components", "int", 50, "made-up samples u_k, and so components of the prior"),),
        "Tomczak & Welling 2018",
    ),
)
