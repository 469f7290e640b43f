"""Denoising, contractive and regularised autoencoders: what keeps a code from copying is noise, or its own steepness."""

from isthmus.catalogue.entry import Entry, Option

VARIANTS = (
    Entry(
        "denoising",
        "learns to restore clean samples from corrupted ones",
        "Features that survive noise, samples that must be cleaned, and codes larger than the input.",
        "Data whose noise is the signal, such as rare spikes.",
        "sum (x - g(f(x + noise)))^2",
        "any",
        (
            Option(
                "noise", "float", 0.3, "standard deviation in units of the scaled data, or the share of cells spoiled"
            ),
            Option("kind", "str", "gaussian", "gaussian, masking, salt_and_pepper or swap"),
        ),
        "Vincent et al. 2010",
    ),
    Entry(
        "contractive",
        "a code that small changes of the sample hardly move",
        "Features that ignore small disturbances, and the directions in which data varies.",
        "The smallest reconstruction error, and fits in a hurry: each step differentiates twice.",
        "sum (x - x_hat)^2 + weight * |dz/dx|^2,  z = sigmoid(h)",
        "any",
        (
            Option("weight", "float", 1.0, "weight of the squared Jacobian of the code"),
            Option(
                "projections",
                "int",
                1,
                "random directions that estimate it; exact with as many as the code has numbers",
            ),
        ),
        "Rifai et al. 2011",
    ),
    Entry(
        "regularised",
        "short codes and a smooth decoder instead of a prior: new samples without noise on the code",
        "New samples where a variational autoencoder blurs them.",
        "Densities: the code has no posterior, so there is no bound on the likelihood.",
        "sum (x - x_hat)^2 + weight/2 * |z|^2 + smoothness * |dx_hat/dz|^2, or weight decay",
        "any",
        (
            Option("weight", "float", 0.1, "weight of half the squared length of the code"),
            Option(
                "smoothness", "float", 0.03, "weight decay (l2), or weight of the decoder's squared Jacobian (gradient)"
            ),
            Option("kind", "str", "l2", "l2 or gradient"),
        ),
        "Ghosh et al. 2020",
    ),
)
