"""Plain PyTorch: the loop of the tutorials, and the one that a careful user writes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from timing.clock import Predict, Watch
from timing.job import Job

Build = Callable[[Job], nn.Module]


def mlp(job: Job) -> nn.Module:
    """Build the network of the job, torch's own initial weights."""
    widths, layers = job.net.widths, []
    for place, (inside, outside) in enumerate(pairwise(widths)):
        is_linear = place in (len(job.net.hidden), len(widths) - 2)
        layers += [nn.Linear(inside, outside), *([] if is_linear else [nn.ReLU()])]
    return nn.Sequential(*layers)


def conv(job: Job) -> nn.Module:
    """Build the convolutional autoencoder of the tutorials: ``hidden`` are channels, each stage halves the sides."""
    channels, side = job.X.shape[1], job.X.shape[2]
    widths = [channels, *job.net.hidden]
    down = [layer for a, b in pairwise(widths) for layer in (nn.Conv2d(a, b, 3, 2, 1), nn.ReLU())]
    small = side // 2 ** len(job.net.hidden)
    flat = widths[-1] * small**2
    code = [nn.Flatten(), nn.Linear(flat, job.net.latent), nn.Linear(job.net.latent, flat), nn.ReLU()]
    rising = [*widths[:0:-1], widths[1]]
    up = [layer for a, b in pairwise(rising) for layer in (nn.ConvTranspose2d(a, b, 4, 2, 1), nn.ReLU())]
    last = nn.Conv2d(widths[1], channels, 3, 1, 1)
    return nn.Sequential(*down, *code, nn.Unflatten(1, (widths[-1], small, small)), *up, last)


def tutorial(job: Job, watch: Watch, build: Build = mlp) -> Predict:
    """Train as the tutorials do: DataLoader, Adam, the loss of every step taken home by ``.item()``."""
    torch.manual_seed(job.seed)
    net = build(job)
    optimizer = torch.optim.Adam(net.parameters(), lr=job.rate)
    loader = DataLoader(TensorDataset(torch.from_numpy(job.X)), batch_size=job.batch, shuffle=True)
    for _ in range(job.epochs):
        total = 0.0
        for (x,) in loader:
            loss = nn.functional.mse_loss(net(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        watch.at_epoch_end(predictor(net))
    return predictor(net)


def in_memory(
    job: Job, watch: Watch, build: Build = mlp, bfloat16: bool = False, channels_last: bool = False
) -> Predict:
    """Train as a careful user does: rows permuted once an epoch, batches are slices, fused Adam, no ``.item()``."""
    torch.manual_seed(job.seed)
    net, X = build(job), torch.from_numpy(job.X)
    if channels_last:
        net, X = net.to(memory_format=torch.channels_last), X.to(memory_format=torch.channels_last)  # pyright: ignore
    optimizer = torch.optim.Adam(net.parameters(), lr=job.rate, fused=True)
    for _ in range(job.epochs):
        shuffled = X[torch.randperm(len(X))]
        for x in shuffled.split(job.batch):
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                x_hat = net(x)
            loss = nn.functional.mse_loss(x_hat.float(), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        watch.at_epoch_end(predictor(net))
    return predictor(net)


def predictor(net: nn.Module) -> Predict:
    """Return the reconstruction of a module as a function of arrays."""

    @torch.no_grad()
    def predict(x: np.ndarray) -> np.ndarray:
        return net(torch.from_numpy(x)).numpy()

    return predict
