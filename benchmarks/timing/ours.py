"""Isthmus itself, in every engine and precision that this version has."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import numpy as np
import torch

import isthmus as ist
from isthmus.model import Model
from isthmus.parts.step import Batch
from isthmus.training import Run
from timing.clock import Predict, UnavailableError, Watch
from timing.job import Job, Trainer

ENGINES = ("eager", "dense", "compiled")


def trainers(precision: str = "float32", **settings: Any) -> dict[str, Trainer]:
    """Return a contestant for each engine; those that do not exist yet raise :class:`UnavailableError` when called."""
    suffix = "" if precision == "float32" else f", {precision}"
    return {
        f"isthmus {engine}{suffix}": partial(train, engine=engine, precision=precision, **settings)
        for engine in ENGINES
    }


def train(job: Job, watch: Watch, engine: str = "auto", precision: str = "auto", **settings: Any) -> Predict:
    """Fit through the front door: the job's network, no shortcut, no scaling, no rows held out; the code is linear.

    The optimizer is Adam at the job's rate as the peak of one cycle. The fit includes what the front door does besides: codec,
    principal components, scores.
    """
    ae = matched(job, engine, precision, callbacks=[Listener(watch)], **settings).fit(job.X)
    if engine not in ("auto", ae.history_.engine):
        raise UnavailableError(f"engine={engine!r} was asked for, but history_.engine says {ae.history_.engine!r}")
    return lambda x: ae.reconstruct(x)


def matched(job: Job, engine: str = "auto", precision: str = "auto", **settings: Any) -> ist.Autoencoder:
    """Return the estimator that does exactly the work of the job."""
    same: dict[str, Any] = {
        "network": ist.MLP(hidden=job.net.hidden, activation="relu"), "shortcut": False, "scale": "none",
        "validation_fraction": 0, "early_stopping": False, "max_epochs": job.epochs, "batch_size": job.batch,
        "learning_rate": job.rate,
    }  # fmt: skip
    return autoencoder(job, engine, precision, **same | settings)


def autoencoder(job: Job, engine: str = "auto", precision: str = "auto", **settings: Any) -> ist.Autoencoder:
    """Return an estimator with the job's code size, seed and device, all else as ``settings`` and the defaults say."""
    known = inspect.signature(ist.Autoencoder).parameters
    if "precision" in known:
        settings["precision"] = precision
    elif precision == "bfloat16":
        raise UnavailableError("Autoencoder has no setting precision= in this version")
    settings = {"latent_dim": job.net.latent, "random_state": job.seed, "verbose": False} | settings
    return ist.Autoencoder(engine=engine, device="cpu", **settings)


class Listener:
    """Tells a watch about the epochs of a fit."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_train_begin(self, run: Run) -> None:
        self.watch.see(predictor(run.model))  # with the shortcut the model is PCA by now

    def on_epoch_end(self, run: Run) -> None:
        self.watch.at_epoch_end(predictor(run.model))


def predictor(model: Model) -> Predict:
    """Return the reconstruction of a model in training, of rows that need no scaling."""

    @torch.no_grad()
    def predict(x: np.ndarray) -> np.ndarray:
        was_training = model.training
        model.eval()
        x_hat = model.expected(Batch(torch.from_numpy(x))).numpy()
        model.train(was_training)
        return x_hat

    return predict
