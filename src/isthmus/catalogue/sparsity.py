"""Sparse autoencoders: few numbers of a code are not zero for any one sample."""

from isthmus.catalogue.entry import Entry, Option

_K = Option("k", "int", "auto", "how many numbers of a code are not zero; auto is the square root of latent_dim")

VARIANTS = (
    Entry(
        "sparse",
        "a code of which few numbers are not zero for any one sample",
        "Features that people can read: each stands for one thing that is there or not.",
        "The smallest reconstruction error for a given code size.",
        "sum (x - x_hat)^2 + weight * sum |z|,  z = max(0, h)",
        "any",
        (
            Option("weight", "float", 0.1, "weight of the L1 penalty"),
            Option("layers", "str", "code", "which activations pay: code, hidden or all"),
        ),
        "Ng 2011",
    ),
    Entry(
        "sparse_kl",
        "a code between 0 and 1, each number of which is on for a small share of the samples",
        "Features that are on or off, when you know how often a feature should be on.",
        "Exact zeros: a sigmoid never gives one; top_k does.",
        "sum (x - x_hat)^2 + weight * sum_j KL(rate || mean z_j),  z = sigmoid(h)",
        "any",
        (
            Option("weight", "float", 0.3, "weight of the divergence"),
            Option("rate", "float", 0.05, "the share of samples for which a number should be on"),
        ),
        "Ng 2011",
    ),
    Entry(
        "top_k",
        "keeps the k largest numbers of a code, and sets the others to zero",
        "Sparse features at a budget you set, with nothing to tune; large codes, since unused numbers are revived.",
        "Samples of very different richness: each gets k numbers, needed or not; batch_top_k shares them out.",
        "sum (x - x_hat)^2 + revival of dead numbers,  z = the k largest of max(0, h)",
        "any",
        (_K,),
        "Makhzani & Frey 2014; Gao et al. 2024",
    ),
    Entry(
        "batch_top_k",
        "keeps k numbers a code on average: rich samples get more, plain ones fewer",
        "Sparse features at a budget you set, where some samples hold more than others.",
        "A hard bound on the numbers of each single code; top_k keeps to one.",
        "sum (x - x_hat)^2 + revival of dead numbers,  z = the B k largest of a batch of max(0, h)",
        "any",
        (_K,),
        "Bussmann, Leask & Nanda 2024",
    ),
    Entry(
        "jump_relu",
        "learns for each number of a code below which value it is zero",
        "Sparse features that are not shrunk: what is paid for is their count, not their size.",
        "A budget to be met: how many stay follows from the weight; top_k takes the number itself.",
        "sum (x - x_hat)^2 + weight * sum 1[h > theta],  z = h 1[h > theta]",
        "any",
        (
            Option("weight", "float", 0.3, "weight of the count"),
            Option("bandwidth", "float", 0.2, "width of the window around a threshold that teaches it"),
        ),
        "Rajamanoharan et al. 2024",
    ),
    Entry(
        "gated",
        "gates decide which numbers of a code are there, magnitudes how large they are",
        "Sparse features that are not shrunk, with gradients that are exact.",
        "Haste: the decoder runs twice a step.",
        "sum (x - x_hat)^2 + weight * sum max(0, a) + sum (x - g(max(0, a)))^2,  z = 1[a > 0] max(0, h)",
        "any",
        (Option("weight", "float", 0.3, "weight of the L1 penalty on the gates"),),
        "Rajamanoharan et al. 2024",
    ),
    Entry(
        "matryoshka",
        "a code that may be cut short: its first numbers are a code already",
        "One model for many code sizes, and features from the coarse to the fine.",
        "One code size that you know: the prefixes cost accuracy there.",
        "sum (x - x_hat)^2 + sum_m sum (x - g(z_1, .., z_m, 0, .., 0))^2",
        "any",
        (
            Option("prefixes", "ints", "auto", "lengths that must serve as codes; auto takes the powers of two"),
            Option("k", "int", 0, "how many numbers of a code are not zero; 0 leaves it dense"),
        ),
        "Kusupati et al. 2022; Bussmann et al. 2025",
    ),
)
