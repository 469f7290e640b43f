"""pythae's autoencoders of images, with the networks that `generation.py` compares under: two convolutions and their mirror."""

from __future__ import annotations

import tempfile
import time

import datasets
import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import AE, VAE, AEConfig, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.samplers import GaussianMixtureSampler, GaussianMixtureSamplerConfig, NormalSampler
from pythae.trainers import BaseTrainerConfig
from pythae.trainers.base_trainer import BaseTrainer
from torch import nn


class Encoder(BaseEncoder):
    """x (B, 1, 28, 28) -> code, and its log variance where it is random."""

    def __init__(self, latent: int, is_random: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.Flatten()
        )
        self.mean = nn.Linear(3136, latent)
        self.log_var = nn.Linear(3136, latent) if is_random else None

    def forward(self, x: torch.Tensor) -> ModelOutput:
        h = self.body(x)
        found = {"embedding": self.mean(h)}
        return ModelOutput(**found | ({} if self.log_var is None else {"log_covariance": self.log_var(h)}))


class Decoder(BaseDecoder):
    """z (B, latent) -> images in [0, 1]."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(latent, 3136),
            nn.ReLU(),
            nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, z: torch.Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.body(z))


def trained(kind: str, seed: int, latent: int, images: np.ndarray) -> AE | VAE:
    """Train the autoencoder ("ae") or the variational one ("vae") on images (n, 1, 28, 28), five epochs of pythae's loop."""
    torch.manual_seed(seed)
    model, config = (AE, AEConfig) if kind == "ae" else (VAE, VAEConfig)
    network = model(config(input_dim=(1, 28, 28), latent_dim=latent), Encoder(latent, kind == "vae"), Decoder(latent))
    with tempfile.TemporaryDirectory() as folder:
        loop = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=5,
            learning_rate=1e-3,
            per_device_train_batch_size=128,
            seed=seed,
            no_cuda=True,
        )
        dataset = BaseDataset(torch.from_numpy(images), torch.ones(len(images)))
        BaseTrainer(network, train_dataset=dataset, training_config=loop).train()
    return network.eval()


def codes(seed: int, latent: int, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the autoencoder's codes of both, images (n, 28, 28) of bytes, and the CPU seconds of its training."""
    train, test = (images[:, None].astype(np.float32) / 255 for images in (train, test))
    started = time.process_time()
    network = trained("ae", seed, latent, train)
    seconds = time.process_time() - started
    with torch.no_grad():
        found = [
            torch.cat([network.encoder(x).embedding for x in torch.from_numpy(i).split(1000)]) for i in (train, test)
        ]
    return found[0].numpy(), found[1].numpy(), seconds


def fitted(kind: str, seed: int, latent: int, rows: int, samples: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return samples, reconstructions of the test images, and the CPU seconds of training and sampler."""
    train, test = (datasets.fashion_images(part)[:, None].astype(np.float32) / 255 for part in ("train", "t10k"))
    started = time.process_time()
    network = trained(kind, seed, latent, train[:rows])
    if kind == "ae":
        sampler = GaussianMixtureSampler(network, GaussianMixtureSamplerConfig(n_components=10))
        sampler.fit(torch.from_numpy(train[:rows]))
    else:
        sampler = NormalSampler(network)
    drawn = sampler.sample(num_samples=samples, batch_size=500, return_gen=True)
    seconds = time.process_time() - started
    with torch.no_grad():
        pieces = torch.from_numpy(test).split(1000)
        rebuilt = torch.cat([network.decoder(network.encoder(x).embedding).reconstruction for x in pieces])
    order = np.random.default_rng(0).permutation(samples)  # it returns samples sorted by component
    return drawn.cpu().numpy()[order], rebuilt.numpy(), seconds
