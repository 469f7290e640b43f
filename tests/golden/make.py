"""Write the golden files; only for a new version of the format: the files of old ones stay, and must stay readable."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from isthmus.apps.compression.compressor import Compressor

HERE = Path(__file__).parent


def main() -> None:
    """Write every file and what it decodes to."""
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(60, 6)), 0).astype("f4")
    walk[3, 3], walk[4, 4], walk[5, 5] = np.nan, -np.inf, -0.0
    table = pa.table(
        {"n": rng.integers(0, 99, 40), "p": np.round(rng.gamma(2, 9, 40), 2), "s": rng.choice(["a", "ü"], 40)}
    )
    cases = {
        "v1-lossless": (walk, {}),
        "v1-abs": (walk, {"abs": 0.01}),
        "v1-pointwise": (walk.astype("f8") * 1e-200, {"pointwise_rel": 0.01}),
        "v1-pixels": (rng.integers(90, 110, (20, 8, 8), np.uint8), {}),
        "v1-whole": (np.cumsum(rng.integers(-9, 9, 500)), {"abs": 2}),
        "v1-table": (table, {}),
    }
    for name, (data, settings) in cases.items():
        for engine in ("classical", "residuals"):
            compressor = Compressor(engines="classical", chunk_values=300, **settings).fit(data)
            compressor.engines_ = {engine: compressor.engines_[engine]}
            compressor.compress(data, HERE / f"{name}-{engine}.isth")
    t, y, x = np.meshgrid(np.arange(40), np.arange(9), np.arange(10), indexing="ij")
    field = (np.sin(t / 9) * np.cos(y / 3) + x * y / 50 + rng.normal(0, 0.01, t.shape)).astype("f4")
    field[3, 4, 5] = np.nan
    series = np.cumsum(rng.normal(size=(300, 3)), 0)
    price = np.round(rng.gamma(2, 9, 160), 2)
    kinds = pa.array(rng.choice(["a", "b", None], 160))
    mixed = pa.table({"n": rng.integers(0, 30, 160), "p": price, "q": 2 * price + rng.integers(0, 3, 160), "s": kinds})
    for engine, name, data, settings in (
        ("lattice", "v1-field", field, {"abs": 0.01}),
        ("lattice", "v1-series", series, {"rel": 0.001}),
        ("columns", "v1-mixed", mixed, {}),
    ):
        compressor = Compressor(engines=[engine], effort="quick", random_state=0, **settings).fit(data)
        compressor.engines_ = {engine: compressor.engines_[engine]}
        compressor.compress(data, HERE / f"{name}-{engine}.isth")
    pictures = np.clip(np.hypot(*(np.indices((150, 19, 19))[1:] - rng.integers(4, 15, (2, 150, 1, 1)))) * 9, 0, 40)
    for name, settings in {"context": {}, "latent": {"latent": True}}.items():
        compressor = Compressor(engines=[name], effort="quick", random_state=0, **settings).fit(pictures.astype("u1"))
        compressor.engines_ = {name: compressor.engines_[name]}
        compressor.compress(pictures[:40].astype("u1"), HERE / f"v1-pictures-{name}.isth")
    sys.path.insert(0, str(HERE.parent))
    from compression_data import digest

    found = {file.name: digest(file) for file in sorted(HERE.glob("*.isth"))}
    (HERE / "digests.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
