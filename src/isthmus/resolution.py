"""Settings that say "auto", or a name, become parts and numbers: one rule each, all in this file."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import nn

from isthmus.designs import Composed, Design, Direct, Hierarchical, ImportanceWeighted, Stacked, VampPrior
from isthmus.engine.choice import ENGINES
from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.model import Model, Parts
from isthmus.parts.bottlenecks import (
    Bare,
    BatchTopK,
    Binary,
    Bottleneck,
    Discrete,
    FiniteScalar,
    Gated,
    Gaussian,
    JumpReLU,
    Matryoshka,
    Plain,
    Spherical,
    TopK,
    VectorQuantized,
)
from isthmus.parts.corruptions import Corruption
from isthmus.parts.flows import Flow
from isthmus.parts.networks import MLP, Conv, Modules, Network, Recurrent, Temporal, Transformer
from isthmus.parts.networks.mlp import default_dropout, is_small
from isthmus.parts.part import Part
from isthmus.parts.penalties import Contractive, DecoderGradient, Penalty
from isthmus.parts.principal import Principal
from isthmus.parts.reconstructions import (
    SSIM,
    AbsoluteError,
    Bernoulli,
    DiscretizedLogistic,
    GradientNormal,
    Huber,
    LogCosh,
    Mixed,
    MultiScaleSSIM,
    NegativeBinomial,
    Normal,
    Poisson,
    Reconstruction,
    SquaredError,
)
from isthmus.parts.samplers import Aggregated, Mixture, Prior, Sampler
from isthmus.parts.schedule import Ramp
from isthmus.training import Plan, plan

_NETWORKS: dict[str, type[Network]] = {
    "mlp": MLP,
    "conv": Conv,
    "recurrent": Recurrent,
    "temporal": Temporal,
    "transformer": Transformer,
}
_BOTTLENECKS: dict[str, type[Bottleneck]] = {
    "plain": Plain,
    "bare": Bare,
    "gaussian": Gaussian,
    "spherical": Spherical,
    "vector_quantized": VectorQuantized,
    "finite_scalar": FiniteScalar,
    "binary": Binary,
    "top_k": TopK,
    "batch_top_k": BatchTopK,
    "jump_relu": JumpReLU,
    "gated": Gated,
    "matryoshka": Matryoshka,
}
_RECONSTRUCTIONS: dict[str, type[Reconstruction]] = {
    "squared_error": SquaredError,
    "huber": Huber,
    "bernoulli": Bernoulli,
    "normal": Normal,
    "gradient_normal": GradientNormal,
    "mixed": Mixed,
    "absolute_error": AbsoluteError,
    "log_cosh": LogCosh,
    "discretized_logistic": DiscretizedLogistic,
    "negative_binomial": NegativeBinomial,
    "poisson": Poisson,
    "ssim": SSIM,
    "multi_scale_ssim": MultiScaleSSIM,
}
_DESIGNS: dict[str, type[Design]] = {
    "direct": Direct,
    "importance_weighted": ImportanceWeighted,
    "hierarchical": Hierarchical,
    "vamp_prior": VampPrior,
    "stacked": Stacked,
}
_SAMPLERS: dict[str, type[Sampler]] = {"prior": Prior, "mixture": Mixture, "flow": Flow, "aggregated": Aggregated}
WIDEST_MLP_IMAGE = 4096
"""Images and volumes of more numbers than this get a convolutional network; below, dense layers learn more in the same time."""
EXPLAINED = 0.9
"""The share of the variance that latent_dim="auto" asks PCA to explain."""
LARGEST_AUTO = 64
CONV_BATCH, CONV_RATE = 64, 5e-3
"""What "auto" is for networks of image convolutions: a sixth less error than 128 and 3e-3 in a tenth to a fifth more time
(20,000 images of Fashion-MNIST, 6 epochs, two seeds)."""
CHANNELS_AUTO = 8


def resolve_parts(settings: dict[str, Any], layout: Layout, n_rows: int) -> Parts:
    """Turn the component settings of an Autoencoder into parts that fit the data."""
    bottleneck = _named(settings["bottleneck"], "bottleneck", Bottleneck, _BOTTLENECKS)
    network = settings["network"]
    if network == "auto":
        is_large_image = len(layout.shape) >= 3 and layout.size > WIDEST_MLP_IMAGE
        network = Conv() if is_large_image else MLP(dropout=default_dropout(layout.size, n_rows))
    elif isinstance(network, (tuple, list)) and len(network) == 2 and all(isinstance(m, nn.Module) for m in network):
        network = Modules(*network)
    else:
        network = _named(network, "network", Network, _NETWORKS)
    reconstruction = settings["reconstruction"]
    if reconstruction == "auto":
        reconstruction = _default_reconstruction(settings, layout, bottleneck, network)
    else:
        reconstruction = _named(reconstruction, "reconstruction", Reconstruction, _RECONSTRUCTIONS)
    if isinstance(reconstruction, Mixed) and not layout.blocks:
        raise SettingError("reconstruction=Mixed() is for tables; pass a DataFrame, or use 'squared_error'.")
    kinds = {block.kind for block in layout.blocks}
    if not isinstance(reconstruction, Mixed) and kinds - {"numeric"}:
        column = next(block.column for block in layout.blocks if block.kind != "numeric")
        raise SettingError(
            f"reconstruction={settings['reconstruction']!r} is for numbers, but column {column!r} is none (or has gaps); use "
            f"'mixed', or leave the column out."
        )
    if reconstruction.needs_unit_range and settings["scale"] not in ("auto", "range", "none"):
        raise SettingError(
            f"{type(reconstruction).__name__} compares numbers in [0, 1], which scale={settings['scale']!r} does not give; "
            f"use scale='auto'."
        )
    if reconstruction.needs_counts and settings["scale"] not in ("auto", "none"):
        raise SettingError(
            f"{type(reconstruction).__name__} counts events, which scale={settings['scale']!r} would turn into fractions; use "
            f"scale='auto'."
        )
    parts = Parts(
        network.resolve(layout.shape, n_rows),
        bottleneck,
        reconstruction,
        _several(settings["corruptions"], "corruptions", Corruption),
        _several(settings["penalties"], "penalties", Penalty),
    )
    for part in (parts.bottleneck, parts.reconstruction, *parts.corruptions, *parts.penalties):
        _refuse_negative(part)
    _refuse_steepness_beside_batch_norm(parts)
    return parts


def _refuse_steepness_beside_batch_norm(parts: Parts) -> None:
    """Penalties on derivatives take them row by row, which batch normalisation mixes in training."""
    for penalty in parts.penalties:
        if isinstance(penalty, (Contractive, DecoderGradient)) and getattr(parts.network, "norm", "none") == "batch":
            raise SettingError(
                f"{type(penalty).__name__} measures how steep the map is for each row, but norm='batch' mixes rows in "
                f"training; use norm='layer'."
            )


def _refuse_negative(part: Part) -> None:
    """Weights, noise levels and scales of the house's own parts are never negative."""
    for name, value in part.get_params().items():
        if type(part).__module__.startswith("isthmus.") and not all(number >= 0 for number in _numbers(value)):
            what = "a number" if isinstance(value, (int, float)) else "made of numbers"
            raise SettingError(f"{type(part).__name__}({name}={value!r}) must be {what} of at least 0.")


def _numbers(value: Any) -> list[int | float]:
    """Return the numbers a setting is made of: itself, those of a range, or those of a schedule."""
    if isinstance(value, (int, float)):
        return [value]
    inner = value.get_params(deep=False).values() if isinstance(value, Ramp) else value
    return [number for item in inner for number in _numbers(item)] if isinstance(value, (tuple, list, Ramp)) else []


def scale_for(setting: str, reconstruction: Any) -> str:
    """Return the scale: "auto" is what the reconstruction needs - [0, 1] for probabilities, none for counts - if anything."""
    part = _RECONSTRUCTIONS.get(reconstruction) if isinstance(reconstruction, str) else reconstruction
    if setting == "auto" and getattr(part, "needs_unit_range", False):
        return "range"
    if setting == "auto" and getattr(part, "needs_counts", False):
        return "none"
    return setting


def resolve_latent_dim(setting: int | str, spectrum: Principal, layout: Layout, parts: Parts) -> int:
    """Return the size of the code.

    "auto" takes the fewest principal components that explain nine tenths of the variance, at most half of the numbers of
    a sample and at most 64, and at least as many as the bottleneck needs. At each position of a map it takes 8 numbers.
    """
    if setting == "auto" and parts.network.keeps_place:
        return CHANNELS_AUTO
    if setting == "auto":
        explained = spectrum.variances.cumsum(0) / max(spectrum.total, 1e-30)
        fewest = int((explained < EXPLAINED - 1e-6).sum()) + 1
        return max(parts.bottleneck.fewest, min(fewest, layout.size // 2, LARGEST_AUTO))
    return given_latent_dim(setting, layout)


def given_latent_dim(setting: Any, layout: Layout) -> int:
    """Return the size of the code that the user asked for; "2x" is twice the numbers of a sample."""
    times = re.fullmatch(r"(\d+(?:\.\d+)?)x", setting) if isinstance(setting, str) else None
    if times is not None:
        setting = math.ceil(float(times[1]) * layout.size)
    if isinstance(setting, bool) or not hasattr(setting, "__index__"):
        raise SettingError(
            f"latent_dim={setting!r} must be a whole number, 'auto', or a multiple of the input as '2x'."
        )
    if int(setting) < 1:
        raise SettingError(f"latent_dim={setting} must be at least 1.")
    return int(setting)


def refuse_copying(z_shape: tuple[int, ...], parts: Parts, layout: Layout, settings: dict[str, Any]) -> None:
    """Refuse a vector code as large as the input when nothing the user asked for keeps the model from copying."""
    if len(z_shape) != 1:
        return  # a map keeps its place, so that one position cannot know the others
    latent_dim = z_shape[0]
    # The dropout of the default network is there for small data, not to make sense of a code that compresses nothing.
    network_holds = settings["network"] != "auto" and parts.network.holds_back
    held = parts.corruptions or parts.penalties or parts.bottleneck.constrains or network_holds
    if latent_dim < layout.size or held or settings["weight_decay"] != 0:
        return
    if layout.size == 1:
        raise SettingError(
            "There is one number to a sample (n_features = 1), which no code can be smaller than; give more columns that vary "
            "(constant ones, identifiers and columns of gaps do not count)."
        )
    raise SettingError(
        f"latent_dim={latent_dim} is not smaller than the {layout.size} input numbers of a sample (n_features = "
        f"{layout.size}); nothing would be compressed. Try {max(1, layout.size // 2)}, or add a corruption, a penalty, "
        f"dropout or weight_decay."
    )


def resolve_shortcut(setting: bool | str, parts: Parts, layout: Layout, design: Design) -> bool:
    """Return whether the model starts from PCA: "auto" means wherever bottleneck and reconstruction can carry it."""
    possible = (
        design.carries_shortcut
        and parts.bottleneck.is_additive
        and not parts.network.keeps_place
        and parts.reconstruction.link(layout) is not None
    )
    if setting == "auto":
        return possible
    if setting not in (True, False):
        raise SettingError(f"shortcut={setting!r} must be True, False or 'auto'.")
    if setting and not possible:
        raise SettingError(
            f"shortcut=True needs a code that a linear map can be added to and a reconstruction near the data, which "
            f"{type(parts.bottleneck).__name__} with {type(parts.network).__name__} and "
            f"{type(parts.reconstruction).__name__} is not; use shortcut='auto'."
        )
    return bool(setting)


def resolve_design(setting: Any) -> Design:
    """Return the design: how the parts are joined."""
    return _named(setting, "design", Design, _DESIGNS)


def resolve_sampler(setting: Any, model: Model) -> Sampler:
    """Return where new codes come from.

    "auto" is a known code where codes are discrete, a mixture fitted on the codes where they are plain or normal, and the
    prior where that is more than N(0, 1): learned, of two levels, or on a sphere. Codes only ever approach N(0, 1), and what
    lies between them no decoder has seen.
    """
    bottleneck = model.parts.bottleneck
    if setting == "auto":
        if isinstance(bottleneck, Discrete):
            return Aggregated()  # a mixture would draw codes between those there are
        is_own = bottleneck.is_distribution and not (type(model) is Composed and isinstance(bottleneck, Gaussian))
        return Prior() if is_own else Mixture()
    sampler = _named(setting, "sampler", Sampler, _SAMPLERS)
    if isinstance(model.parts.bottleneck, Discrete) and isinstance(sampler, Prior):
        raise SettingError(
            f"sampler='prior' draws from a normal distribution, which {type(model.parts.bottleneck).__name__} codes do not "
            f"follow; use sampler='aggregated'."
        )
    return sampler


def resolve_device(setting: str | torch.device) -> torch.device:
    """Return the device: "auto" is the GPU when torch sees one."""
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(setting)
    except RuntimeError as error:
        raise SettingError(f"device={setting!r} is not known to torch; use 'auto', 'cpu' or 'cuda'.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingError(f"device={setting!r}: torch sees no GPU here; use 'auto' or 'cpu'.")
    return device


def resolve_engine(setting: str) -> str:
    """Return what is asked to compute the steps; "auto" takes the fastest that serves the model."""
    if setting not in ENGINES:
        raise SettingError(f"engine={setting!r} is not known; use {', '.join(repr(name) for name in ENGINES)}.")
    return setting


def _default_reconstruction(
    settings: dict[str, Any], layout: Layout, bottleneck: Bottleneck, network: Network
) -> Reconstruction:
    """Tables get one likelihood a column; arrays squared differences, or learned variances beside a random code.

    Images beside a normal code are compared by their edges too, which halves the distance of samples to real ones, but where
    a design or a penalty is stated against a likelihood (importance weights, a learned prior, a total correlation), and where
    the decoder may squash its output already.
    """
    if layout.blocks:
        return Mixed(variance="learned" if bottleneck.is_distribution else "fixed")
    if not bottleneck.is_distribution:
        return SquaredError()
    is_image = len(layout.shape) == 3 and max(layout.shape[1:]) > 1 and settings["scale"] in ("auto", "range")
    is_plain = type(resolve_design(settings["design"])) is Direct and not _several(
        settings["penalties"], "penalties", Penalty
    )
    sees_edges = is_image and is_plain and isinstance(bottleneck, Gaussian) and network.ends_linearly
    return GradientNormal() if sees_edges else Normal()


def _named(setting: Any, parameter: str, family: type[Any], names: dict[str, type[Any]]) -> Any:
    if isinstance(setting, family):
        return setting
    if isinstance(setting, str) and setting in names:
        return names[setting]()
    known = ", ".join(repr(name) for name in names)
    raise SettingError(f"{parameter}={setting!r} is not known; use {known} or a {family.__name__} part.")


def _several(setting: Any, parameter: str, family: type[Part]) -> tuple[Any, ...]:
    parts = (setting,) if isinstance(setting, Part) else tuple(setting)
    for part in parts:
        if not isinstance(part, family):
            raise SettingError(f"{parameter} takes {family.__name__} parts, not {part!r}.")
    return parts


def resolve_plan(settings: dict[str, Any], layout: Layout, n_rows: int) -> Plan:
    """Return how long and how fast to train; where there are rows enough for a large network, it gets twice the steps.

    Convolutions of images take smaller batches at a higher rate: each pixel of a batch is a row to them.
    """
    batch_size, rate = settings["batch_size"], settings["learning_rate"]
    if _convolves_images(settings["network"], layout):
        batch_size = min(CONV_BATCH, max(16, n_rows // 8)) if batch_size == "auto" else batch_size
        rate = CONV_RATE if rate == "auto" else rate
    return plan(
        n_rows,
        settings["effort"],
        settings["max_epochs"],
        batch_size,
        rate,
        settings["early_stopping"],
        settings["weight_decay"],
        steps_factor=1 if is_small(layout.size, n_rows) else 2,
    )


def _convolves_images(network: Any, layout: Layout) -> bool:
    if len(layout.shape) != 3:
        return False
    return isinstance(network, Conv) or network == "conv" or (network == "auto" and layout.size > WIDEST_MLP_IMAGE)
