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
        "beta_vae",
        "a variational code pressed harder, or as hard as you say, towards its prior",
        "Codes whose numbers stand for separate things, and a code of which you set the nats.",
        "Sharp reconstructions: the harder the pressure, the less the code says of a sample.",
        "-log p(x | z) + beta * |KL(q(z | x) || N(0, 1)) - C|, C rising from 0 to capacity",
        "any",
        (
            Option("beta", "float", 4.0, "weight of the KL term"),
            Option("warm_up", "float", 0.0, "share of the training over which beta grows from 0"),
            Option("capacity", "float", 0.0, "nats of KL that are aimed at; 0 aims at as few as possible"),
            Option("free_bits", "float", 0.0, "nats that each number of a code has for free"),
        ),
        "Higgins et al. 2017; Burgess et al. 2018",
    ),
    Entry(
        "wasserstein",
        "a deterministic code whose distribution over all samples is held near a prior",
        "New samples at a smaller reconstruction error than a variational code: no noise is added to any one code.",
        "Densities of single samples: the code has no posterior.",
        "sum (x - x_hat)^2 + weight * MMD^2(codes, N(0, 1))",
        "any",
        (
            Option("weight", "float", 100.0, "weight of the squared maximum mean discrepancy"),
            Option("kernel", "str", "imq", '"imq" (inverse multiquadratic) or "rbf"'),
        ),
        "Tolstikhin et al. 2018",
    ),
    Entry(
        "info_vae",
        "a variational code that may say more of each sample while all together follow the prior",
        "Variational codes that collapse: where the decoder is strong, or beta = 1 leaves numbers unused.",
        "A true bound on the likelihood, which the changed weights give up.",
        "-log p(x | z) + (1 - alpha) * KL(q(z | x) || N(0, 1)) + (alpha + scaling - 1) * MMD^2(codes, N(0, 1))",
        "any",
        (
            Option("alpha", "float", 0.5, "how much of the KL is given up, from 0 to 1"),
            Option("scaling", "float", 100.0, "the paper's lambda: the weight of the divergence of all codes together"),
        ),
        "Zhao et al. 2019",
    ),
    Entry(
        "tc_vae",
        "a variational code whose numbers are pressed to be independent of each other",
        "Numbers that can be read one by one: each for a factor of its own.",
        "Codes read as a whole, by a classifier or an index: independence is of no use to them.",
        "-log p(x | z) + KL(q(z | x) || N(0, 1)) + (beta - 1) * KL(q(z) || prod_k q(z_k))",
        "any",
        (Option("beta", "float", 4.0, "weight of the total correlation; 1 is the evidence lower bound"),),
        "Chen et al. 2018",
    ),
)
