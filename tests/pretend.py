"""One training step of every model on a GPU that does not exist: tensors know their device and shape, and hold nothing.

Run as a program, in a process of its own, for it gives torch a device "gpu" that all of it sees. It prints what each step
met: an error (tensors of two devices, mostly), and who read a number from the device or copied one there - what a GPU has to
be waited for, and what no recording of a step can hold.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import isthmus as ist
from isthmus.catalogue import VARIANTS
from isthmus.engine import Eager
from isthmus.engine.adam import Adam
from isthmus.errors import SettingError
from isthmus.parts import constants
from isthmus.parts.penalties import perceptual
from isthmus.parts.step import Batch
from isthmus.training import gather
from samples import data_for, gappy
from test_engines import begun

aten = torch.ops.aten
ROWS = 16
QUIET = {"max_epochs": 1, "random_state": 0, "verbose": False, "latent_dim": 3}


def table() -> pd.DataFrame:
    colours = ["red", "green", None]
    return pd.DataFrame({"a": range(60), "b": [i % 7 for i in range(60)], "c": [colours[i % 3] for i in range(60)]})


def own(kind: str, **settings: Any) -> tuple[ist.Autoencoder, Any, Any]:
    X, y = (table(), None) if kind == "table" else data_for(kind, 60)
    return ist.Autoencoder(**(QUIET | settings)), X, y


OTHERS = {
    "table": lambda: own("table"),
    "table learned": lambda: own(
        "table", bottleneck="gaussian", reconstruction=ist.Mixed(variance="learned", focal=1.0)
    ),
    "table balanced": lambda: own("table", reconstruction=ist.Mixed(class_weight="balanced")),
    "table masked": lambda: own("table", corruptions=ist.Masking(0.2)),
    "noises": lambda: own("any", corruptions=[ist.GaussianNoise((0.1, 0.3)), ist.Swap(0.2), ist.SaltAndPepper(0.1)]),
    "patches": lambda: own("images", corruptions=ist.PatchMasking(0.5), network="transformer"),
    "perceptual": lambda: own("images", penalties=ist.Perceptual()),
    "ssim": lambda: own("images", reconstruction="multi_scale_ssim", scale="range"),
    "levels": lambda: own("images", reconstruction="discretized_logistic", scale="range"),
    "zero inflated": lambda: own("counts", reconstruction=ist.NegativeBinomial(zero_inflated=True)),
    "norms": lambda: own(
        "any", network=ist.MLP(hidden=(8,), norm="batch", dropout=0.1), penalties=ist.L1(layers="all")
    ),
    "spectral": lambda: own("any", network=ist.MLP(hidden=(8,), spectral_norm=True), penalties=ist.DecoderGradient()),
    "learned codebook": lambda: own("any", bottleneck=ist.VectorQuantized(codes=8, learn="gradient", levels=2)),
    "residual maps": lambda: own("images", network=ist.Conv(code="map", norm="batch", residual=1, up="pixel_shuffle")),
    "lstm": lambda: own("series", network=ist.Recurrent(hidden=8, cell="lstm", bidirectional=True)),
}


def cases() -> list[str]:
    return [entry.name for entry in VARIANTS] + list(OTHERS)


def case(name: str) -> tuple[ist.Autoencoder, Any, Any]:
    if name in OTHERS:
        return OTHERS[name]()
    entry = next(entry for entry in VARIANTS if entry.name == name)
    return ist.variant(name, max_epochs=1, random_state=0, verbose=False), *data_for(entry.inputs, 60)


class Generator(torch.Generator):
    """A generator that says it is the GPU's."""

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        return torch.device("gpu", 0)


class Pretend(FakeTensorMode):
    """Notes who waits for the device; a number that is read is ``answer``."""

    avoid_device_init = True  # so that torch.tensor(.., device="gpu") is a copy from the host, as it would be

    def __init__(self, answer: int) -> None:
        super().__init__()
        self.answer = answer
        self.waits: list[str] = []

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default:
            if args[0].device.type == "gpu":
                self.waits.append(whoever())
            return self._number(args[0])
        if (
            func is aten._to_copy.default
            and torch.device(kwargs.get("device") or args[0].device).type != args[0].device.type
        ):
            self.waits.append(whoever())
        if func in (aten._standard_gamma.default, aten._standard_gamma_grad.default):  # torch knows no shape of theirs
            return super().dispatch(aten.empty_like.default, types, args[:1], {})
        if func in (aten._fused_adamw_.default, aten._fused_adamw_.tensor_lr):
            devices = {
                values.device
                for values in torch.utils._pytree.tree_leaves((args, kwargs))
                if isinstance(values, Tensor)
            }
            assert devices == {torch.device("gpu", 0)}, f"Adam got tensors of {devices}"
            return None
        return super().dispatch(func, types, args, kwargs)

    def _number(self, of: Tensor) -> bool | int | float:
        kind = bool if of.dtype == torch.bool else float if of.dtype.is_floating_point else int
        return kind(self.answer)


def whoever() -> str:
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("isthmus."):
            return frame.f_code.co_qualname
        frame = frame.f_back
    return "torch"


def on_gpu(mode: Pretend, values: Tensor | None) -> Tensor | None:
    if values is None:
        return None
    fake = mode.from_tensor(values.detach())
    with mode:
        return fake.to("gpu")


def move(model: nn.Module, mode: Pretend) -> None:
    """Put every weight and buffer on the GPU; what two modules share stays shared."""
    moved: dict[Tensor, Tensor] = {}
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, values in held.items():
                if values is not None and values not in moved:
                    fake = on_gpu(mode, values)
                    with mode:
                        is_weight = isinstance(values, nn.Parameter)
                        moved[values] = nn.Parameter(fake, requires_grad=values.requires_grad) if is_weight else fake
                if values is not None:
                    held[name] = moved[values]


def steps_of(name: str, answer: int, has_gaps: bool) -> list[str]:
    """Take two steps and return who waited during the second: constants are copied once."""
    constants._placed.cache_clear()
    perceptual._random_weights_for.cache_clear()
    perceptual.random_weights.cache_clear()
    ae, X, y = case(name)
    run = begun(ae, gappy(X) if has_gaps else X, y)
    batch = gather(run.data.train, slice(0, ROWS), None, run.data.cells, run.model, run.data.train_condition)
    mode = Pretend(answer)
    move(run.model, mode)
    batch = Batch(*(on_gpu(mode, values) for values in batch._replace(weight=torch.ones(ROWS))))
    with mode:
        engine = Eager(run.model.train(), Adam(run.model.named_parameters(), 0.01))
        for _ in range(2):
            mode.waits.clear()
            engine.step(batch, Generator().manual_seed(0), 0.5, torch.zeros((), device="gpu"))
        for held, values in run.model.state_dict().items():
            assert values.device.type == "gpu", f"{held} left the device"
    return sorted(set(mode.waits))


def report(name: str) -> dict[str, Any]:
    """Return who waited, and the first error; where a number was read, both answers to a question are tried."""
    X, waits = case(name)[1], set[str]()
    has_floats = isinstance(X, np.ndarray) and X.ndim == 2 and name not in ("counts", "zero inflated")
    for has_gaps, answer in [(False, 0), (False, 1), *([(True, 0)] if has_floats else [])]:
        if answer and not waits:
            continue
        try:
            waits |= {*steps_of(name, answer, has_gaps)}
        except Exception as error:
            if isinstance(error, SettingError) and answer:
                continue  # a check refused the answer that was made up
            ours = [
                f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__) if "isthmus" in f.filename
            ]
            return {"waits": sorted(waits), "error": f"{type(error).__name__} at {ours[-1:]}: {str(error)[:300]}"}
    return {"waits": sorted(waits), "error": ""}


def main() -> None:
    from torch.utils import backend_registration

    class Device(backend_registration._DummyBackendModule):
        def get_rng_state(self, device: Any) -> Tensor:
            return torch.zeros(8, dtype=torch.uint8)

        def set_rng_state(self, state: Tensor, device: Any) -> None:
            pass

    backend_registration._setup_privateuseone_for_python_backend("gpu", Device())
    for name in cases():
        print(json.dumps({"name": name} | report(name)), flush=True)


if __name__ == "__main__":
    main()
