"""Autoencoders of other libraries, with the topology, batches, epochs and optimizer of the job, and nothing else switched on.

pyod and scikit-learn know one activation for all hidden layers, so their code passes a ReLU as well; pyod leaves out the last
batch when it is not full, draws other initial weights, and scores all rows at the end of its fit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from timing.clock import Cost, Predict, Watch, spent
from timing.job import Job


def pyod(job: Job, watch: Watch) -> Predict:
    """pyod's AutoEncoder; ``epoch_update`` is its own hook at the end of an epoch."""
    import torch
    from pyod.models.auto_encoder import AutoEncoder

    from timing.loops import predictor

    class Watched(AutoEncoder):
        def epoch_update(self) -> None:
            watch.at_epoch_end(predictor(self.model))

    watch.restart()
    detector = Watched(
        preprocessing=False, lr=job.rate, epoch_num=job.epochs, batch_size=job.batch, device=torch.device("cpu"),
        random_state=job.seed, verbose=0, optimizer_params={}, hidden_neuron_list=[*job.net.hidden, job.net.latent],
        batch_norm=False, dropout_rate=0.0,
    )  # fmt: skip
    detector.fit(job.X)
    return predictor(detector.model)


def pythae(job: Job, watch: Watch) -> Predict:
    """pythae's AE, with encoder and decoder of the job's widths, through its training pipeline."""
    import torch
    from pythae.models import AE, AEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback
    from torch import nn

    def layers(widths: list[int]) -> nn.Sequential:
        made = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*made[:-1])

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers([job.net.width, *job.net.hidden, job.net.latent])

        def forward(self, x: Any) -> Any:
            return ModelOutput(embedding=self.layers(x))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers([job.net.latent, *reversed(job.net.hidden), job.net.width])

        def forward(self, z: Any) -> Any:
            return ModelOutput(reconstruction=self.layers(z))

    @torch.no_grad()
    def predict(x: np.ndarray) -> np.ndarray:
        return model.decoder(model.encoder(torch.from_numpy(x)).embedding).reconstruction.numpy()

    class Listener(TrainingCallback):
        def on_epoch_end(self, training_config: Any, **told: Any) -> None:
            watch.at_epoch_end(predict)

    watch.restart()
    torch.manual_seed(job.seed)
    model = AE(AEConfig(input_dim=(job.net.width,), latent_dim=job.net.latent), Encoder(), Decoder())
    with tempfile.TemporaryDirectory() as folder, _silence():
        config = BaseTrainerConfig(
            output_dir=folder, num_epochs=job.epochs, learning_rate=job.rate, per_device_train_batch_size=job.batch,
            optimizer_cls="Adam", no_cuda=True, seed=job.seed,
        )  # fmt: skip
        TrainingPipeline(model=model, training_config=config)(train_data=job.X, callbacks=[Listener()])
    return predict


def scikit_learn(job: Job, watch: Watch) -> Predict:
    """scikit-learn's MLPRegressor taught its own input; the cost of an epoch is a slope, for it has no callbacks."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    def fit(epochs: int) -> MLPRegressor:
        regressor = MLPRegressor(
            hidden_layer_sizes=(*job.net.hidden, job.net.latent, *reversed(job.net.hidden)), alpha=0.0, batch_size=job.batch,
            learning_rate_init=job.rate, max_iter=epochs, n_iter_no_change=epochs + 1, tol=0.0, random_state=job.seed,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return regressor.fit(job.X, job.X)

    one: Cost = spent(lambda: fit(1))[1]
    watch.restart()
    regressor = fit(job.epochs)
    watch.slope(one, job.epochs, watch.cost)
    return regressor.predict


def keras(job: Job, watch: Watch) -> Predict:
    """Keras 3 on JAX; an epoch is what lies between two of its callbacks, the whole fit includes the compilation."""
    import keras

    model: Any = None

    def predict(x: np.ndarray) -> np.ndarray:
        return model.predict(x, batch_size=2048, verbose=0)

    class Listener(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            watch.at_epoch_end(predict)

    watch.restart()
    keras.utils.set_random_seed(job.seed)
    widths = job.net.widths[1:]
    linear = (len(job.net.hidden), len(widths) - 1)
    layers = [keras.layers.Dense(w, activation=None if i in linear else "relu") for i, w in enumerate(widths)]
    model = keras.Sequential([keras.Input((job.net.width,)), *layers])
    model.compile(keras.optimizers.Adam(job.rate), "mse")
    model.fit(job.X, job.X, batch_size=job.batch, epochs=job.epochs, verbose=0, shuffle=True, callbacks=[Listener()])
    return predict


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Let a library that talks to the screen and to its log talk to nobody."""
    logging.disable(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield
    finally:
        logging.disable(logging.NOTSET)
