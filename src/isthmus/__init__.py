"""Isthmus: autoencoders for your own data, with scikit-learn's manners.

>>> import isthmus as ist
>>> ae = ist.Autoencoder(latent_dim=16).fit(X)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from isthmus.catalogue import VARIANTS

if TYPE_CHECKING:
    from isthmus.apps.anomaly.detector import AnomalyDetector as AnomalyDetector
    from isthmus.apps.anomaly.tiles import TiledDetector as TiledDetector
    from isthmus.apps.augmentation import Augmented as Augmented
    from isthmus.apps.augmentation import augment as augment
    from isthmus.apps.augmentation import augmentation_gain as augmentation_gain
    from isthmus.apps.clustering import Clusterer as Clusterer
    from isthmus.apps.clustering import Clustering as Clustering
    from isthmus.apps.compression.archive import Archive as Archive
    from isthmus.apps.compression.archive import decompress as decompress
    from isthmus.apps.compression.compressor import Compressor as Compressor
    from isthmus.apps.denoising.denoiser import Denoiser as Denoiser
    from isthmus.apps.displays import BaselineDisplay as BaselineDisplay
    from isthmus.apps.displays import CodeMapDisplay as CodeMapDisplay
    from isthmus.apps.displays import LearningCurveDisplay as LearningCurveDisplay
    from isthmus.apps.displays import MovesDisplay as MovesDisplay
    from isthmus.apps.displays import OperatingCurveDisplay as OperatingCurveDisplay
    from isthmus.apps.displays import ReconstructionDisplay as ReconstructionDisplay
    from isthmus.apps.displays import ScoreHistogramDisplay as ScoreHistogramDisplay
    from isthmus.apps.exporting import OnnxModel as OnnxModel
    from isthmus.apps.exporting import export_onnx as export_onnx
    from isthmus.apps.features import CodeMap as CodeMap
    from isthmus.apps.features import CodeQuality as CodeQuality
    from isthmus.apps.features import LatentDimCurve as LatentDimCurve
    from isthmus.apps.features import LatentDimDisplay as LatentDimDisplay
    from isthmus.apps.features import code_map as code_map
    from isthmus.apps.features import code_quality as code_quality
    from isthmus.apps.features import latent_dim_curve as latent_dim_curve
    from isthmus.apps.generation.alike import sample_like as sample_like
    from isthmus.apps.generation.quality import sample_quality as sample_quality
    from isthmus.apps.generation.strips import WalkDisplay as WalkDisplay
    from isthmus.apps.generation.walks import interpolate as interpolate
    from isthmus.apps.generation.walks import traverse as traverse
    from isthmus.apps.imputation import Imputer as Imputer
    from isthmus.apps.interpretation import interpret as interpret
    from isthmus.apps.likelihood import log_likelihood as log_likelihood
    from isthmus.apps.report import report as report
    from isthmus.apps.retrieval import Index as Index
    from isthmus.apps.retrieval import Neighbours as Neighbours
    from isthmus.apps.synthesis import Synthesizer as Synthesizer
    from isthmus.apps.synthesis import synthetic_quality as synthetic_quality
    from isthmus.callbacks import Checkpoint as Checkpoint
    from isthmus.data import Images as Images
    from isthmus.data import Series as Series
    from isthmus.data.files import read as read
    from isthmus.data.files import write as write
    from isthmus.designs import Direct as Direct
    from isthmus.designs import Hierarchical as Hierarchical
    from isthmus.designs import ImportanceWeighted as ImportanceWeighted
    from isthmus.designs import Stacked as Stacked
    from isthmus.designs import VampPrior as VampPrior
    from isthmus.estimator import Autoencoder as Autoencoder
    from isthmus.loading import load as load
    from isthmus.many import fit_many as fit_many
    from isthmus.parts.bottlenecks import Bare as Bare
    from isthmus.parts.bottlenecks import BatchTopK as BatchTopK
    from isthmus.parts.bottlenecks import Binary as Binary
    from isthmus.parts.bottlenecks import FiniteScalar as FiniteScalar
    from isthmus.parts.bottlenecks import Gated as Gated
    from isthmus.parts.bottlenecks import Gaussian as Gaussian
    from isthmus.parts.bottlenecks import JumpReLU as JumpReLU
    from isthmus.parts.bottlenecks import Matryoshka as Matryoshka
    from isthmus.parts.bottlenecks import Plain as Plain
    from isthmus.parts.bottlenecks import Spherical as Spherical
    from isthmus.parts.bottlenecks import TopK as TopK
    from isthmus.parts.bottlenecks import VectorQuantized as VectorQuantized
    from isthmus.parts.corruptions import GaussianNoise as GaussianNoise
    from isthmus.parts.corruptions import Masking as Masking
    from isthmus.parts.corruptions import SaltAndPepper as SaltAndPepper
    from isthmus.parts.corruptions import Swap as Swap
    from isthmus.parts.flows import Flow as Flow
    from isthmus.parts.networks import MLP as MLP
    from isthmus.parts.networks import Conv as Conv
    from isthmus.parts.networks import Modules as Modules
    from isthmus.parts.networks import Pair as Pair
    from isthmus.parts.networks import Recurrent as Recurrent
    from isthmus.parts.networks import Temporal as Temporal
    from isthmus.parts.networks import Transformer as Transformer
    from isthmus.parts.patch_masking import PatchMasking as PatchMasking
    from isthmus.parts.penalties import L1 as L1
    from isthmus.parts.penalties import MMD as MMD
    from isthmus.parts.penalties import CodeCritic as CodeCritic
    from isthmus.parts.penalties import CodeNorm as CodeNorm
    from isthmus.parts.penalties import Contractive as Contractive
    from isthmus.parts.penalties import DecoderGradient as DecoderGradient
    from isthmus.parts.penalties import FactorCritic as FactorCritic
    from isthmus.parts.penalties import KLSparsity as KLSparsity
    from isthmus.parts.penalties import Perceptual as Perceptual
    from isthmus.parts.penalties import SampleCritic as SampleCritic
    from isthmus.parts.penalties import TotalCorrelation as TotalCorrelation
    from isthmus.parts.reconstructions import SSIM as SSIM
    from isthmus.parts.reconstructions import AbsoluteError as AbsoluteError
    from isthmus.parts.reconstructions import Bernoulli as Bernoulli
    from isthmus.parts.reconstructions import DiscretizedLogistic as DiscretizedLogistic
    from isthmus.parts.reconstructions import GradientNormal as GradientNormal
    from isthmus.parts.reconstructions import Huber as Huber
    from isthmus.parts.reconstructions import LogCosh as LogCosh
    from isthmus.parts.reconstructions import Mixed as Mixed
    from isthmus.parts.reconstructions import MultiScaleSSIM as MultiScaleSSIM
    from isthmus.parts.reconstructions import NegativeBinomial as NegativeBinomial
    from isthmus.parts.reconstructions import Normal as Normal
    from isthmus.parts.reconstructions import Poisson as Poisson
    from isthmus.parts.reconstructions import SquaredError as SquaredError
    from isthmus.parts.samplers import Aggregated as Aggregated
    from isthmus.parts.samplers import Mixture as Mixture
    from isthmus.parts.samplers import Prior as Prior
    from isthmus.parts.schedule import Ramp as Ramp
    from isthmus.variants import variant as variant
    from isthmus.variants.codebooks import binary as binary
    from isthmus.variants.codebooks import finite_scalar as finite_scalar
    from isthmus.variants.codebooks import vector_quantized as vector_quantized
    from isthmus.variants.noise import contractive as contractive
    from isthmus.variants.noise import denoising as denoising
    from isthmus.variants.noise import regularised as regularised
    from isthmus.variants.probability import adversarial as adversarial
    from isthmus.variants.probability import beta_vae as beta_vae
    from isthmus.variants.probability import conditional as conditional
    from isthmus.variants.probability import factor_vae as factor_vae
    from isthmus.variants.probability import hierarchical as hierarchical
    from isthmus.variants.probability import importance_weighted as importance_weighted
    from isthmus.variants.probability import info_vae as info_vae
    from isthmus.variants.probability import mixture_prior as mixture_prior
    from isthmus.variants.probability import spherical as spherical
    from isthmus.variants.probability import tc_vae as tc_vae
    from isthmus.variants.probability import vae_gan as vae_gan
    from isthmus.variants.probability import variational as variational
    from isthmus.variants.probability import wasserstein as wasserstein
    from isthmus.variants.reconstruction import convolutional as convolutional
    from isthmus.variants.reconstruction import counts as counts
    from isthmus.variants.reconstruction import deep as deep
    from isthmus.variants.reconstruction import linear as linear
    from isthmus.variants.reconstruction import overcomplete as overcomplete
    from isthmus.variants.reconstruction import stacked as stacked
    from isthmus.variants.reconstruction import tied as tied
    from isthmus.variants.reconstruction import undercomplete as undercomplete
    from isthmus.variants.reconstruction import vanilla as vanilla
    from isthmus.variants.sequences import masked as masked
    from isthmus.variants.sequences import recurrent as recurrent
    from isthmus.variants.sequences import temporal as temporal
    from isthmus.variants.sequences import transformer as transformer
    from isthmus.variants.sparsity import batch_top_k as batch_top_k
    from isthmus.variants.sparsity import gated as gated
    from isthmus.variants.sparsity import jump_relu as jump_relu
    from isthmus.variants.sparsity import matryoshka as matryoshka
    from isthmus.variants.sparsity import sparse as sparse
    from isthmus.variants.sparsity import sparse_kl as sparse_kl
    from isthmus.variants.sparsity import top_k as top_k
    from isthmus.web.widget import explore as explore

__version__ = "0.1.0"

# Where each public name lives. They are imported at first use: `import isthmus` must not cost the import of torch.
_HOMES = {
    "isthmus.apps.anomaly.detector": ("AnomalyDetector",),
    "isthmus.apps.clustering": (
        "Clusterer",
        "Clustering",
    ),
    "isthmus.apps.anomaly.tiles": ("TiledDetector",),
    "isthmus.apps.augmentation": (
        "Augmented",
        "augment",
        "augmentation_gain",
    ),
    "isthmus.apps.compression.archive": ("Archive", "decompress"),
    "isthmus.apps.compression.compressor": ("Compressor",),
    "isthmus.apps.displays": (
        "BaselineDisplay",
        "CodeMapDisplay",
        "LearningCurveDisplay",
        "MovesDisplay",
        "OperatingCurveDisplay",
        "ReconstructionDisplay",
        "ScoreHistogramDisplay",
    ),
    "isthmus.apps.features": (
        "CodeMap",
        "CodeQuality",
        "LatentDimCurve",
        "LatentDimDisplay",
        "code_map",
        "code_quality",
        "latent_dim_curve",
    ),
    "isthmus.apps.denoising.denoiser": ("Denoiser",),
    "isthmus.apps.exporting": (
        "OnnxModel",
        "export_onnx",
    ),
    "isthmus.apps.imputation": ("Imputer",),
    "isthmus.apps.generation.alike": ("sample_like",),
    "isthmus.apps.generation.quality": ("sample_quality",),
    "isthmus.apps.generation.strips": ("WalkDisplay",),
    "isthmus.apps.generation.walks": ("interpolate", "traverse"),
    "isthmus.apps.interpretation": ("interpret",),
    "isthmus.apps.likelihood": ("log_likelihood",),
    "isthmus.apps.report": ("report",),
    "isthmus.apps.retrieval": (
        "Index",
        "Neighbours",
    ),
    "isthmus.apps.synthesis": (
        "Synthesizer",
        "synthetic_quality",
    ),
    "isthmus.callbacks": ("Checkpoint",),
    "isthmus.data": (
        "Images",
        "Series",
    ),
    "isthmus.data.files": (
        "read",
        "write",
    ),
    "isthmus.designs": (
        "Direct",
        "Hierarchical",
        "ImportanceWeighted",
        "Stacked",
        "VampPrior",
    ),
    "isthmus.estimator": ("Autoencoder",),
    "isthmus.loading": ("load",),
    "isthmus.many": ("fit_many",),
    "isthmus.parts.bottlenecks": (
        "Bare",
        "BatchTopK",
        "Binary",
        "FiniteScalar",
        "Gated",
        "Gaussian",
        "JumpReLU",
        "Matryoshka",
        "Plain",
        "Spherical",
        "TopK",
        "VectorQuantized",
    ),
    "isthmus.parts.corruptions": (
        "GaussianNoise",
        "Masking",
        "SaltAndPepper",
        "Swap",
    ),
    "isthmus.parts.flows": ("Flow",),
    "isthmus.parts.networks": (
        "Conv",
        "MLP",
        "Modules",
        "Pair",
        "Recurrent",
        "Temporal",
        "Transformer",
    ),
    "isthmus.parts.patch_masking": ("PatchMasking",),
    "isthmus.parts.penalties": (
        "CodeCritic",
        "CodeNorm",
        "Contractive",
        "DecoderGradient",
        "FactorCritic",
        "KLSparsity",
        "L1",
        "MMD",
        "Perceptual",
        "SampleCritic",
        "TotalCorrelation",
    ),
    "isthmus.parts.reconstructions": (
        "AbsoluteError",
        "Bernoulli",
        "DiscretizedLogistic",
        "GradientNormal",
        "Huber",
        "LogCosh",
        "Mixed",
        "MultiScaleSSIM",
        "NegativeBinomial",
        "Normal",
        "Poisson",
        "SSIM",
        "SquaredError",
    ),
    "isthmus.parts.samplers": (
        "Aggregated",
        "Mixture",
        "Prior",
    ),
    "isthmus.parts.schedule": ("Ramp",),
    "isthmus.variants": ("variant", *(entry.name for entry in VARIANTS)),
    "isthmus.web.widget": ("explore",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll] - the catalogue says which variants there are


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'isthmus' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
