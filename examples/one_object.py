"""One fitted object, every use: passengers of the Titanic filled in, sampled, scored, denoised, grouped, searched, reported.

ISTHMUS_DATA=FOLDER python examples/one_object.py  # FOLDER/seaborn_tables/titanic.csv; without it a table is made up
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

import isthmus as ist


def passengers() -> pd.DataFrame:
    """Return the table of seaborn's titanic, or one like it."""
    path = Path(os.environ.get("ISTHMUS_DATA", "")) / "seaborn_tables" / "titanic.csv"
    if path.is_file():
        return pd.read_csv(path).filter(["survived", "pclass", "sex", "age", "sibsp", "parch", "fare", "embarked"])
    rng = np.random.default_rng(0)
    pclass = rng.choice([1, 2, 3], 600, p=[0.25, 0.2, 0.55])
    sex = rng.choice(["male", "female"], 600, p=[0.65, 0.35])
    age = (45 - 5 * pclass + rng.normal(0, 12, 600)).clip(1)
    survived = (rng.random(600) < np.where(sex == "female", 0.95 - 0.15 * pclass, 0.4 - 0.08 * pclass)).astype(int)
    fare = np.exp(5.2 - 0.8 * pclass + rng.normal(0, 0.4, 600))
    age[rng.random(600) < 0.2] = np.nan
    return pd.DataFrame({"survived": survived, "pclass": pclass, "sex": sex, "age": age.round(), "fare": fare.round(2)})


table = passengers()
survived = table.pop("survived")  # what nobody knew when the ship left is not learned from
# Trained to restore cells that were hidden from it: what fills gaps and removes noise has learned to.
ae = ist.denoising(latent_dim=4, noise=0.3, kind="masking", random_state=0, verbose=False).fit(table)
explained = {name: f"{ae.scores_[name]['explained']:.0%}" for name in ("model", "pca")}
print(
    f"{len(table)} passengers, {int(table.isna().sum().sum())} gaps; 4 numbers explain {explained['model']}, PCA's "
    f"{explained['pca']}."
)

# Impute: what the model expects where nobody knows; what is known stays.
filled = ist.Imputer(autoencoder=ae).fit(table).transform(table)
first = table.index[table.age.isna()][0]
print(f"Passenger {first} has no age; the model says {filled.age[first]:.0f}.")

# Sample: passengers who never were.
made = ae.sample(200, random_state=0)
print(made.head(3).to_string(index=False))

# Score: who is least like the others, and which cell is to blame.
oddest = int(ae.score_samples(table).argmin())
errors = ae.reconstruction_error(table.iloc[[oddest]], by="column")
blame = str(np.array(ae.cell_names_)[errors.argmax()])
print(f"The oddest passenger is {oddest}, most of all by {blame!r}: {table[blame][oddest]}.")

# Denoise: fares off by half are brought back towards what goes with the rest of the row.
rng = np.random.default_rng(0)
spoiled = table.assign(fare=(table.fare * rng.choice([0.5, 2.0], len(table))).round(2))
back = ae.reconstruct(spoiled)
before, after = (np.abs(np.log1p(each.fare) - np.log1p(table.fare)).median() for each in (spoiled, back))
print(f"Fares off by a factor of two: the median error of their logarithm is {before:.2f}, after the code {after:.2f}.")

# Cluster: kinds of passengers.
groups = ist.Clusterer(3, autoencoder=ae, random_state=0).fit(table)
print(*groups.clustering_.sentences(), sep="\n")

# Search: who is most like the first passenger.
near = ist.Index(ae, table).query(rows=[0], k=3)
print(f"Most like passenger 0: {near.positions[0].tolist()}.")

# Features: do codes tell who survived, beside PCA and chance?
worth = ist.code_quality(ae, table, survived)
print(worth.sentences[0])

# Report: one page with all of it.
sections = [groups.clustering_.section(), worth.section()]
ist.report(ae, table, survived, "survived", sections).save("one_object.html")

ae.save("one_object")
assert np.array_equal(ist.load("one_object").transform(table), ae.transform(table))
