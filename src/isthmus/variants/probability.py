"""Variational autoencoders: a code with a prior."""

from __future__ import annotations

from typing import Any

from isthmus.designs import Hierarchical, ImportanceWeighted, VampPrior
from isthmus.estimator import Autoencoder
from isthmus.parts.bottlenecks import Gaussian, Plain, Spherical
from isthmus.parts.penalties import MMD, CodeCritic, FactorCritic, SampleCritic, TotalCorrelation
from isthmus.variants.compose import compose


def variational(latent_dim: int | str = "auto", beta: float = 1.0, **settings: Any) -> Autoencoder:
    """Return an autoencoder whose code has a prior, so that samples can be drawn (Kingma & Welling 2014).

    The decoder's variance is learned (Rybkin 2021), so with ``beta=1`` the loss is the negative evidence lower bound. Images
    are compared by the differences of neighbouring pixels too ("gradient_normal"), which is no likelihood but gives sharper
    samples; ``log_likelihood`` wants ``reconstruction="normal"``. Other likelihoods: "bernoulli" for black and white images,
    "squared_error" for a variance of 1/2.
    """
    return compose(latent_dim, {"bottleneck": Gaussian(beta=beta)}, settings)


def beta_vae(
    latent_dim: int | str = "auto",
    beta: float = 4.0,
    warm_up: float = 0.0,
    capacity: float = 0.0,
    free_bits: float = 0.0,
    **settings: Any,
) -> Autoencoder:
    """Return a variational autoencoder that presses its code harder towards the prior (Higgins 2017; Burgess 2018)."""
    return compose(latent_dim, {"bottleneck": Gaussian(beta, warm_up, capacity, free_bits)}, settings)


def wasserstein(
    latent_dim: int | str = "auto", weight: float = 100.0, kernel: str = "imq", **settings: Any
) -> Autoencoder:
    """Return an autoencoder whose codes, all together, are held near the prior by their MMD (WAE-MMD; Tolstikhin 2018).

    The prior fixes the scale of the code, so it does not start from principal components, which have their own.
    """
    own = {"bottleneck": Plain(), "penalties": (MMD(weight, kernel),), "shortcut": False, "sampler": "prior"}
    return compose(latent_dim, own, settings)


def info_vae(
    latent_dim: int | str = "auto", alpha: float = 0.5, scaling: float = 100.0, **settings: Any
) -> Autoencoder:
    """Return a variational autoencoder that trades the KL of each code for the MMD of all together (Zhao 2019).

    ``alpha`` and ``scaling`` are the paper's alpha and lambda: the KL has the weight 1 - alpha, the MMD alpha + lambda - 1.
    """
    own = {"bottleneck": Gaussian(beta=1 - alpha), "penalties": (MMD(alpha + scaling - 1),)}
    return compose(latent_dim, own, settings)


def tc_vae(latent_dim: int | str = "auto", beta: float = 4.0, **settings: Any) -> Autoencoder:
    """Return a variational autoencoder whose numbers are pressed to be independent of each other (beta-TC-VAE; Chen 2018).

    Of the three parts of the mean KL only the total correlation is weighed by ``beta``; the others count as they are.
    """
    return compose(latent_dim, {"bottleneck": Gaussian(), "penalties": (TotalCorrelation(beta - 1),)}, settings)


def factor_vae(latent_dim: int | str = "auto", gamma: float = 3.0, **settings: Any) -> Autoencoder:
    """Return a variational autoencoder with a critic that finds what its numbers say of each other (Kim & Mnih 2018)."""
    return compose(latent_dim, {"bottleneck": Gaussian(), "penalties": (FactorCritic(gamma),)}, settings)


def adversarial(latent_dim: int | str = "auto", weight: float = 3.0, **settings: Any) -> Autoencoder:
    """Return an autoencoder whose codes a critic cannot tell from draws of the prior (Makhzani 2015).

    The prior fixes the scale of the code, so it does not start from principal components, which have their own.
    """
    own = {"bottleneck": Plain(), "penalties": (CodeCritic(weight),), "shortcut": False, "sampler": "prior"}
    return compose(latent_dim, own, settings)


def vae_gan(
    latent_dim: int | str = "auto", weight: float = 3.0, similarity: float = 0.1, **settings: Any
) -> Autoencoder:
    """Return a variational autoencoder whose samples a critic cannot tell from data (Larsen 2016).

    The paper replaces the error in the numbers of a sample by that in the critic's hidden layer; here both count.
    """
    return compose(latent_dim, {"bottleneck": Gaussian(), "penalties": (SampleCritic(weight, similarity),)}, settings)


def spherical(latent_dim: int | str = "auto", beta: float = 1.0, **settings: Any) -> Autoencoder:
    """Return a variational autoencoder whose codes are directions: points of the unit sphere (Davidson 2018)."""
    return compose(latent_dim, {"bottleneck": Spherical(beta)}, settings)


def conditional(
    latent_dim: int | str = "auto", condition: str = "y", beta: float = 1.0, **settings: Any
) -> Autoencoder:
    """Return a variational autoencoder that is told the labels of its samples (Sohn 2015).

    ``condition`` is "y", for the labels of ``fit(X, y)``, or the name of a column. A tenth of the rows are told nothing in
    training, so that the model does without as well.
    """
    return compose(latent_dim, {"bottleneck": Gaussian(beta=beta), "condition": condition}, settings)


def importance_weighted(latent_dim: int | str = "auto", samples: int = 8, **settings: Any) -> Autoencoder:
    """Return a variational autoencoder trained on a tighter bound, from several codes a sample (Burda 2016)."""
    return compose(latent_dim, {"bottleneck": Gaussian(), "design": ImportanceWeighted(samples)}, settings)


def hierarchical(
    latent_dim: int | str = "auto", top_dim: int | str = "auto", warm_up: float = 0.5, **settings: Any
) -> Autoencoder:
    """Return a variational autoencoder of two levels: a code whose prior a second, smaller code draws (Sonderby 2016)."""
    own = {"bottleneck": Gaussian(warm_up=warm_up), "design": Hierarchical(top_dim)}
    return compose(latent_dim, own, settings)


def mixture_prior(latent_dim: int | str = "auto", components: int = 50, **settings: Any) -> Autoencoder:
    """Return a variational autoencoder whose prior is a mixture that it learns, the VampPrior (Tomczak & Welling 2018)."""
    return compose(latent_dim, {"bottleneck": Gaussian(), "design": VampPrior(components)}, settings)
