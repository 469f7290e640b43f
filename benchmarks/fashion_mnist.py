"""All 60,000 images of Fashion-MNIST from the IDX file with default settings: CPU time, memory, error beside PCA.

    python benchmarks/fashion_mnist.py [--latent 16] [--effort default]

The error is measured on the 10,000 test images, which neither the autoencoder nor PCA has seen.
"""

from __future__ import annotations

import argparse
import resource
import time

import datasets
import numpy as np
import torch

import isthmus as ist
from isthmus import estimator, scores


def peak_mib() -> float:
    """Return the most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Fit, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--effort", default="default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    assert estimator.Autoencoder  # everything is imported before the memory is read
    base, cpu, wall = peak_mib(), time.process_time(), time.perf_counter()
    images = ist.read(datasets.DATA / "fashion_mnist/train-images-idx3-ubyte.gz")
    ae = ist.Autoencoder(latent_dim=options.latent, effort=options.effort, random_state=options.seed).fit(images)
    cpu, wall, peak = time.process_time() - cpu, time.perf_counter() - wall, peak_mib()
    test = ae.codec_.encode(datasets.fashion_images("t10k"))
    result = scores.score(ae.model_, test, ae.principal_, held_out=True)
    model, pca = result["model"]["squared_error"], result["pca"]["squared_error"]
    print(f"network {ae.settings_['network']}, {ae.n_iter_} epochs, best {ae.history_.best_epoch}")
    print(
        f"CPU {cpu:.0f} s on {torch.get_num_threads()} threads, wall {wall:.0f} s ({np.round(cpu / 60, 1)} CPU minutes)"
    )
    print(f"peak memory {peak - base:.0f} MiB above the {base:.0f} MiB of the imports")
    print(
        f"squared error per test image {model:.3f}, PCA {pca:.3f}, ratio {model / pca:.3f} at {options.latent} dimensions"
    )


if __name__ == "__main__":
    main()
