"""What groups are made of: their sizes, the rows that stand for them, the columns that set them apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from isthmus.apps.evidence import owners, values_of
from isthmus.apps.section import Section, Table
from isthmus.apps.words import percent, plain

if TYPE_CHECKING:
    import pyarrow as pa

EXEMPLARS, COLUMNS = 5, 4
LEAST_EFFECT = 0.2
"""A smaller difference, in standard deviations, sets no group apart (Cohen 1988 calls it small)."""
MOST_ROWS = 10_000


class Distinction(NamedTuple):
    """How a group differs from all rows in one column."""

    column: str
    effect: float
    """The difference of means in standard deviations; of a category, of its shares, (p - q) / sqrt(q (1 - q))."""
    inside: float
    """The mean in the group, in the units of the data; of a category, its share."""
    overall: float
    category: Any = None
    """The category whose share it is; None for numbers."""


class Cluster(NamedTuple):
    """One group."""

    label: int
    size: int
    share: float
    exemplars: tuple[int, ...]
    """The rows nearest to its centre, the nearest first."""
    distinctions: tuple[Distinction, ...]
    """The columns of a table or an array that set it apart, the most telling first."""


@dataclass(frozen=True)
class Clustering:
    """Groups of rows."""

    method: str
    refined: bool
    labels: np.ndarray
    """(n,) the group of each row, -1 for rows that belong to none."""
    clusters: tuple[Cluster, ...]
    """The groups, in the order of their labels."""
    bic: dict[int, float]
    """Of the numbers of groups that were tried, the least is best; empty where the number was given or found otherwise."""
    stability: float | None
    """Mean adjusted Rand index between groupings of random halves by five seeds; None for a single group."""
    silhouette: float | None
    """Mean silhouette on codes; None for a single group."""

    def to_dict(self) -> dict[str, Any]:
        """Return all but the labels as plain data."""
        clusters = [
            cluster._asdict() | {"distinctions": [distinction._asdict() for distinction in cluster.distinctions]}
            for cluster in self.clusters
        ]
        return plain(
            {
                "method": self.method,
                "refined": self.refined,
                "rows": len(self.labels),
                "n_clusters": len(self.clusters),
                "noise": int((self.labels < 0).sum()),
                "stability": self.stability,
                "silhouette": self.silhouette,
                "bic": self.bic,
                "clusters": clusters,
            }
        )

    def to_table(self) -> pa.Table:
        """Return one row a group: label, size, share, exemplars, what sets it apart."""
        import pyarrow as pa

        said = [{**c._asdict(), "distinctions": "; ".join(map(describe, c.distinctions))} for c in self.clusters]
        return pa.Table.from_pylist([plain(row) for row in said])

    def sentences(self) -> tuple[str, ...]:
        """Say what was found, and how firmly it stands."""
        n, count = len(self.labels), len(self.clusters)
        said = [f"{n:,} rows fall into {count} group{'s' if count != 1 else ''} ({self.method} on the codes)."]
        if self.bic:
            said.append(
                f"The number is where the Bayesian information criterion of a mixture of 1 to {max(self.bic)} is least."
            )
        if count == 1 and self.bic:
            said.append("One normal distribution describes the codes best: there are no groups to tell apart.")
        if (self.labels < 0).any():
            said.append(f"{percent(float((self.labels < 0).mean()))} of the rows belong to none.")
        if self.stability is not None:
            firm = "firm" if self.stability >= 0.9 else "fair" if self.stability >= 0.7 else "shaky"
            said.append(
                f"Groupings of random halves by other seeds agree to {self.stability:.2f} (adjusted Rand index; 1 is the same "
                f"groups, 0 chance): {firm}."
            )
        return tuple(said)

    def section(self) -> Section:
        """Return a section of the report."""
        rows = [
            (
                c.label,
                c.size,
                percent(c.share),
                ", ".join(map(str, c.exemplars[:3])),
                "; ".join(map(describe, c.distinctions)),
            )
            for c in self.clusters
        ]
        table = Table("The groups", ("group", "rows", "share", "typical rows", "set apart by"), rows)
        return Section("Groups", self.sentences(), (table,), facts=self.to_dict())


def describe(distinction: Distinction) -> str:
    """Say how a group differs in one column."""
    name, _, inside, overall, category = distinction
    if category is None:
        return f"{name} {inside:.4g} (overall {overall:.4g})"
    return f"{name} = {category} {percent(inside)} (overall {percent(overall)})"


def describe_groups(ae: Any, X: Any, codes: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> tuple[Cluster, ...]:
    """Describe each group of rows X with codes (n, d); ``centres`` (k, d)."""
    apart = _distinctions(ae, X, labels, len(centres))
    found = []
    for label, centre in enumerate(centres):
        own = np.flatnonzero(labels == label)
        distances = np.square(codes[own] - centre).sum(1)
        nearest = own[np.argsort(distances, kind="stable")[:EXEMPLARS]]
        found.append(Cluster(label, len(own), len(own) / len(labels), tuple(map(int, nearest)), apart[label]))
    return tuple(found)


def _distinctions(ae: Any, X: Any, labels: np.ndarray, k: int) -> list[tuple[Distinction, ...]]:
    """Return for each group what sets it apart; nothing for pictures and series."""
    if ae.codec_.kind not in ("table", "array"):
        return [()] * k
    rows = ae.codec_.encode(X)
    if len(rows) > MOST_ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(len(rows), MOST_ROWS, replace=False))
        rows, labels = rows.subset(chosen), labels[chosen]
    x, observed = rows.take(slice(None))
    seen = np.ones(x.shape, bool) if observed is None else observed.numpy()
    names, owner = owners(ae)
    values = values_of(ae, x.numpy())
    categorical = {block.column for block in ae.codec_.layout.blocks if block.kind != "numeric" and not block.gap}
    found: list[list[Distinction]] = [[] for _ in range(k)]
    for number, name in enumerate(names):
        known = seen[:, np.flatnonzero(owner == number)[0]]
        compare = _of_category if name in categorical else _of_number
        for label in range(k):
            inside = known & (labels == label)
            if inside.any():
                found[label] += compare(name, values[name], inside, known)
    return [tuple(sorted(each, key=lambda one: -abs(one.effect))[:COLUMNS]) for each in found]


def _of_number(name: str, values: list[Any], inside: np.ndarray, known: np.ndarray) -> list[Distinction]:
    if isinstance(values[int(known.argmax())], (int, float)):
        numbers = np.array([np.nan if value is None else value for value in values], np.float64)
    else:  # times, which have means but no sums
        return []
    spread = numbers[known].std()
    mean, overall = numbers[inside].mean(), numbers[known].mean()
    effect = float((mean - overall) / spread) if spread > 0 else 0.0
    return [Distinction(name, effect, float(mean), float(overall))] if abs(effect) >= LEAST_EFFECT else []


def _of_category(name: str, values: list[Any], inside: np.ndarray, known: np.ndarray) -> list[Distinction]:
    """Return the category whose share differs most."""
    ours = Counter(values[place] for place in np.flatnonzero(inside))
    all_of_them = Counter(values[place] for place in np.flatnonzero(known))
    best = None
    for category, count in all_of_them.items():
        p, q = ours[category] / inside.sum(), count / known.sum()
        effect = (p - q) / np.sqrt(q * (1 - q)) if q < 1 else 0.0
        if best is None or abs(effect) > abs(best.effect):
            best = Distinction(name, float(effect), float(p), float(q), category)
    return [best] if best is not None and abs(best.effect) >= LEAST_EFFECT else []
