"""Learn a mixed table with gaps, look at its oddest rows, and bring it back.

python examples/mixed_table.py
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

import isthmus as ist

rng = np.random.default_rng(0)
size = rng.normal(170, 10, 1000)
weight = size - 100 + rng.normal(0, 4, 1000)
weight[rng.random(1000) < 0.1] = np.nan
weight[3] = 150.0  # a slip of the pen
table = pa.table(
    {
        "size_cm": size.round(1),
        "weight_kg": pa.array(weight.round(1), from_pandas=True),
        "shirt": np.select([size < 160, size < 175], ["S", "M"], "L"),
    }
)

ae = ist.Autoencoder(latent_dim=2, random_state=0).fit(table)
print(ae.reconstruct(table.slice(0, 5)).to_pylist())

errors = ae.reconstruction_error(table, by="column")
row, column = np.unravel_index(errors.argmax(), errors.shape)
assert ae.cell_names_ is not None
print(f"the oddest cell is {ae.cell_names_[column]!r} of row {row}: {table.slice(row, 1).to_pylist()[0]}")

ist.report(ae, table).save("mixed_table.html")
