"""Maps: every row as a point of the plane, and how far such a picture can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.manifold import TSNE
from sklearn.utils.validation import check_is_fitted

from isthmus.apps.displays import CodeMapDisplay, flatten_codes
from isthmus.apps.evidence import gather_evidence
from isthmus.apps.features.measures import in_data, preserved, trustworthiness
from isthmus.apps.section import Figure, Section
from isthmus.apps.words import percent, plain
from isthmus.errors import DataError, SettingError
from isthmus.estimator import Autoencoder

if TYPE_CHECKING:
    import pyarrow as pa

METHODS = ("auto", "pca", "autoencoder", "tsne", "umap")
FEWEST = 50
MOST_COMPARED = 2000
NEIGHBOURS = 10


@dataclass(frozen=True)
class CodeMap:
    """Rows as points of the plane."""

    points: np.ndarray
    """(n, 2)"""
    rows: np.ndarray
    """(n,) which row of the data each point is; of more than 10,000 rows a random sample is shown."""
    method: str
    trustworthiness: float
    """How few neighbours on the map are far away in the data (Venna & Kaski 2001): 1 is best, about 0.5 is chance."""
    preserved: float
    """The share of a row's ten nearest in the data that are among its ten nearest on the map."""
    _display: CodeMapDisplay

    def display(self) -> CodeMapDisplay:
        """Return the plot of the map."""
        return self._display

    def to_dict(self) -> dict[str, Any]:
        """Return method, figures and points as plain data."""
        names = ("method", "trustworthiness", "preserved", "rows", "points")
        return plain({name: getattr(self, name) for name in names})

    def to_table(self) -> pa.Table:
        """Return one row a point: row, x, y."""
        import pyarrow as pa

        return pa.table({"row": self.rows, "x": self.points[:, 0], "y": self.points[:, 1]})

    @property
    def sentences(self) -> tuple[str, ...]:
        """How far the map can be trusted."""
        return (
            f"{len(self.points):,} rows on a map ({self.method}): its trustworthiness is {self.trustworthiness:.3f} (1 is "
            f"best, about 0.5 chance), and {percent(self.preserved)} of a row's {NEIGHBOURS} nearest neighbours in the data "
            f"are among its nearest here.",
        )

    def section(self) -> Section:
        """Return the map as a section of the report."""
        figure = Figure(self._display, "map", "Every row as a point of the plane.", (4.7, 3.4))
        facts = {name: value for name, value in self.to_dict().items() if name not in ("points", "rows")}
        return Section("A map of the rows", self.sentences, figures=(figure,), facts=facts)


def code_map(ae: Autoencoder, X: Any, y: Any = None, method: str = "auto", random_state: int = 0) -> CodeMap:
    """Lay the codes of X out in the plane, coloured by ``y`` or by error.

    Parameters
    ----------
    method : "pca" draws the first two principal components of the codes; "autoencoder" trains a second autoencoder from the
        codes to two numbers; "tsne" (van der Maaten 2008) and "umap" (McInnes 2018, where it is installed) keep neighbours
        together, at the cost of distances between groups. "auto" is "pca". Codes of two numbers are drawn as they are.

    >>> ist.code_map(ae, X, y, method="tsne").display().plot()  # doctest: +SKIP
    """
    check_is_fitted(ae)
    if method not in METHODS:
        raise SettingError(f"method={method!r} is not known; use {', '.join(map(repr, METHODS))}.")
    if method == "umap" and find_spec("umap") is None:
        raise SettingError(
            "method='umap' needs umap-learn, which is not installed: pip install umap-learn; or use 'tsne'."
        )
    evidence = gather_evidence(ae, X)
    codes = evidence.codes
    if len(codes) < FEWEST:
        raise DataError(
            f"{len(codes)} rows are too few for a map whose neighbours mean anything; give at least {FEWEST}."
        )
    if y is not None and len(y) != evidence.total:
        raise DataError(f"y has {len(y)} values, but X has {evidence.total} rows; give one value a row.")
    method = "pca" if method == "auto" else method
    points, axes = _laid_out(codes, method, random_state)
    display = CodeMapDisplay.from_evidence(evidence._replace(codes=points), y)
    display.axes = axes
    x = in_data(ae, evidence.rows)
    some = np.random.default_rng(random_state).permutation(len(x))[:MOST_COMPARED]
    kept = preserved(x[some], points[some], NEIGHBOURS)
    return CodeMap(
        points, evidence.positions, method, trustworthiness(x[some], points[some], NEIGHBOURS), kept, display
    )


def _laid_out(codes: np.ndarray, method: str, seed: int) -> tuple[np.ndarray, tuple[str, str]]:
    """Return codes (n, d) as points (n, 2), and the names of the axes."""
    axes = (f"{method} 1", f"{method} 2")
    if method == "pca" or codes.shape[1] <= 2:
        return flatten_codes(codes)
    if method == "autoencoder":
        return Autoencoder(latent_dim=2, random_state=seed, verbose=False).fit(codes).transform(codes), axes
    if method == "tsne":
        perplexity = min(30.0, (len(codes) - 1) / 3)
        return TSNE(random_state=seed, init="pca", perplexity=perplexity).fit_transform(codes), axes
    from umap import UMAP  # pyright: ignore[reportMissingImports] - asked for by name, and looked for before

    return np.asarray(UMAP(n_components=2, random_state=seed).fit_transform(codes)), axes
