"""The architectures that introductions to autoencoders print, one call each, for images of 28 x 28 pixels.

python examples/textbook_architectures.py

Each has, layer by layer, the parameters of its printed original; the table says how many, and how large the squared error of
pixels in [0, 1] is on held-out images, beside that of the mean image. Training is short, less than half a minute for all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import isthmus as ist


def dense_32(**settings: Any) -> ist.Autoencoder:
    """784-32-784: a leaky rectified code, a sigmoid output."""
    return ist.Autoencoder(
        latent_dim=32,
        network=ist.MLP(hidden=(), output_activation="sigmoid"),
        bottleneck=ist.Plain("leaky_relu"),
        **settings,
    )


def dense_64(**settings: Any) -> ist.Autoencoder:
    """784-64-784: a rectified code, a sigmoid output."""
    return ist.Autoencoder(
        latent_dim=64, network=ist.MLP(hidden=(), output_activation="sigmoid"), bottleneck=ist.Plain("relu"), **settings
    )


def sparse_1000(**settings: Any) -> ist.Autoencoder:
    """784-1000-784: a rectified code larger than the input, most of it kept at zero by an L1 term."""
    return ist.Autoencoder(
        latent_dim=1000,
        network=ist.MLP(hidden=(), output_activation="sigmoid"),
        bottleneck=ist.Plain("relu"),
        penalties=ist.L1(weight=1e-2),
        **settings,
    )


def deep_256(**settings: Any) -> ist.Autoencoder:
    """784-256-20-256-784: rectified layers around a linear code, a sigmoid output."""
    return ist.Autoencoder(
        latent_dim=20,
        network=ist.MLP(hidden=(256,), activation="relu", output_activation="sigmoid"),
        shortcut=False,
        **settings,
    )


def variational_256(**settings: Any) -> ist.Autoencoder:
    """784-256-(20, 20)-256-784: the same with mean and variance of a code; summed squared error + KL divergence."""
    return ist.Autoencoder(
        latent_dim=20,
        network=ist.MLP(hidden=(256,), activation="relu", output_activation="sigmoid"),
        bottleneck=ist.Gaussian(beta=1.0),
        reconstruction="squared_error",
        **settings,
    )


def convolutional_map(**settings: Any) -> ist.Autoencoder:
    """1-32-64 strided convolutions, the map 64 x 7 x 7 itself the code, 3x3 transposed convolutions back."""
    return ist.Autoencoder(
        network=ist.Conv(
            (32, 64),
            "strided",
            "transposed",
            activation="relu",
            up_kernel=3,
            code="map",
            final=False,
            output_activation="sigmoid",
        ),
        bottleneck="bare",
        **settings,
    )


def convolutional_vector(**settings: Any) -> ist.Autoencoder:
    """1-32-64-64 strided convolutions, a linear layer to 10 numbers and one back, 4x4 transposed convolutions."""
    return ist.Autoencoder(
        latent_dim=10,
        network=ist.Conv(
            (32, 64, 64), "strided", "transposed", activation="relu", final=False, output_activation="sigmoid"
        ),
        shortcut=False,
        **settings,
    )


def pooled_upsampled(**settings: Any) -> ist.Autoencoder:
    """1-32-32, max pooling after each convolution; a convolution before each upsampling, and one at the end."""
    return ist.Autoencoder(
        network=ist.Conv(
            (32, 32), "pool", "upsample", activation="relu", code="map", final=True, output_activation="sigmoid"
        ),
        bottleneck="bare",
        **settings,
    )


def pooled_transposed(**settings: Any) -> ist.Autoencoder:
    """1-16-4, max pooling after each convolution; 2x2 transposed convolutions back."""
    return ist.Autoencoder(
        network=ist.Conv(
            (16, 4),
            "pool",
            "transposed",
            up_kernel=2,
            activation="relu",
            code="map",
            final=False,
            output_activation="sigmoid",
        ),
        bottleneck="bare",
        **settings,
    )


ARCHITECTURES = (
    dense_32,
    dense_64,
    sparse_1000,
    deep_256,
    variational_256,
    convolutional_map,
    convolutional_vector,
    pooled_upsampled,
    pooled_transposed,
)


def images(count: int = 500) -> np.ndarray:
    """Return scikit-learn's digits, 8 x 8, enlarged to 24 x 24 and framed to 28 x 28: (n, 28, 28) in [0, 1]."""
    from sklearn.datasets import load_digits

    small = load_digits().images[:count].astype(np.float32) / 16
    return np.pad(small.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))


def main() -> None:
    """Train each for a moment and print the table."""
    X = images()
    print(f"{'architecture':22s}{'parameters':>12s}{'held-out error':>16s}")
    for architecture in ARCHITECTURES:
        ae = architecture(max_epochs=15, random_state=0, verbose=False).fit(X)
        parameters = sum(parameter.numel() for parameter in ae.model_.parameters())
        print(f"{architecture.__name__:22s}{parameters:12,d}{ae.scores_['model']['squared_error']:16.1f}")
    print(f"{'the mean image':22s}{'':12s}{ae.scores_['mean']['squared_error']:16.1f}")


if __name__ == "__main__":
    main()
