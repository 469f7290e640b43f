"""Discrete autoencoders: codes made of whole numbers, or of bits."""

from isthmus.catalogue.entry import Entry, Option

VARIANTS: tuple[Entry, ...] = (
    Entry(
        "vector_quantized",
        "a code made of entries of learned codebooks: a few bytes a sample",
        "Codes to store, to count and to feed to models of discrete symbols.",
        "Codes to compute with: two neighbours may have quite different entries.",
        "sum (x - x_hat)^2 + commitment * sum |z - sg(q)|^2,  q = nearest entry to z",
        "any",
        (
            Option("codes", "int", 256, "entries of each codebook"),
            Option("groups", "int", "auto", "codebooks beside each other; auto: one for two numbers of a vector"),
            Option("levels", "int", 1, "codebooks after each other, each for what the ones before left"),
            Option("learn", "str", "ema", "ema (running means) or gradient"),
            Option("commitment", "float", 0.25, "weight that holds the code near its entries"),
        ),
        "van den Oord, Vinyals & Kavukcuoglu 2017",
    ),
    Entry(
        "finite_scalar",
        "each number of the code is rounded to one of a few levels",
        "Discrete codes without the care that a codebook wants: nothing collapses.",
        "The shortest codes: a learned codebook fits the data more closely.",
        "sum (x - x_hat)^2,  z = round(b tanh(h + a) - o) / floor(L/2),  b = (L - 1)/2",
        "any",
        (Option("levels", "ints", 8, "levels of each number, or one number for all"),),
        "Mentzer et al. 2024",
    ),
    Entry(
        "binary",
        "a code of bits, compared by counting those that differ",
        "Searching millions of samples in memory; take latent_dim 64 or more.",
        "Faithful reconstructions from a short code: one bit says little.",
        "sum (x - x_hat)^2,  z = [h + noise * logistic > 0]",
        "any",
        (Option("noise", "float", 0.3, "spread of the noise before the threshold in training; 0 for none"),),
        "Salakhutdinov & Hinton 2009",
    ),
)
