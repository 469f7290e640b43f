"""One model and some rows: everything the explorer shows, each figure by one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isthmus.apps.anomaly.detector import AnomalyDetector
from isthmus.apps.anomaly.findings import NOUNS, taken
from isthmus.apps.evidence import Cell, Evidence, pairs
from isthmus.apps.exploring.colours import Colour, columns_of
from isthmus.apps.exploring.maps import lay_out
from isthmus.apps.exploring.oddities import Oddities
from isthmus.apps.exploring.previews import Preview, image_label, previews
from isthmus.apps.generation.walks import Walk, between, interpolate
from isthmus.apps.report import report
from isthmus.apps.retrieval import Index, Neighbours
from isthmus.apps.words import plain
from isthmus.data.containers import is_table
from isthmus.errors import DataError, SettingError
from isthmus.estimator import Autoencoder
from isthmus.inference import few_at_once, rows_for_few
from isthmus.resolution import resolve_sampler

MOST_SLIDERS = 32
"""The numbers of a code that vary most; longer codes show so many."""
NO_DATA = (
    "No data was given: the points are codes of training rows that the model kept, without the rows themselves. "
    "isthmus explore MODEL DATA shows originals, colours, odd rows and the search."
)


@dataclass(frozen=True)
class Shown:
    """One row beside its reconstruction."""

    row: int
    name: str
    code: np.ndarray
    """(latent,)"""
    point: np.ndarray
    """(2,) its place on the map."""
    rebuilt: Preview
    original: Preview | None = None
    """None where there is no data."""
    error: float | None = None
    """Its :meth:`Autoencoder.reconstruction_error`."""
    cells: tuple[Cell, ...] = ()
    """Of tables and arrays: the cells that differ, the worst first."""
    known: tuple[tuple[str, Any], ...] = ()
    """What else is known of the row: the columns the model has not seen."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        found = {name: getattr(self, name) for name in ("row", "name", "code", "point", "error", "known")}
        found["cells"] = [cell._asdict() for cell in self.cells]
        shown = {"original": None if self.original is None else self.original.to_dict()}
        return plain(found) | shown | {"rebuilt": self.rebuilt.to_dict()}


class Exploration:
    """A fitted model and some rows, laid open.

    Parameters
    ----------
    model : a fitted autoencoder, or a detector that judges by autoencoders.
    X : rows, in a form the model takes; None shows the codes of training rows that it kept.
    y : one value a row, by which points can be coloured; ``y_name`` is what it is called.
    table : a table with a row for each row of X, whose columns colour too: those of the file that the model has not seen.
    method : how codes become points: "auto", "pca" or "umap". Codes of two numbers are shown as they are.

    >>> found = Exploration(ae, X)  # doctest: +SKIP
    >>> found.points, found.row(0).error, found.neighbours(row=0, k=5).positions  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Autoencoder | AnomalyDetector,
        X: Any = None,
        y: Any = None,
        *,
        y_name: str | None = None,
        table: Any = None,
        method: str = "auto",
    ) -> None:
        check_is_fitted(model)
        self.model, self.X = model, X
        self.ae = autoencoder_of(model)
        self.codes = self._codes(X)
        self.map = lay_out(self.codes, method)
        self._y, self._y_name, self._table = y, y_name, table
        for name, given in (("y", y), ("table", table)):
            if given is not None and len(given) != len(self):
                raise DataError(f"{name} has {len(given)} rows, but there are {len(self)} points; give one value each.")

    def __len__(self) -> int:
        return len(self.codes)

    def _codes(self, X: Any) -> np.ndarray:
        if X is not None:
            return self.ae.transform(X)
        kept = self.ae.codes_.flatten(1).numpy()
        if not len(kept):
            raise DataError("This model kept no codes of its training rows; give the rows to show.")
        return kept

    @property
    def points(self) -> np.ndarray:
        """(n, 2) float32: where each row lies on the map."""
        return self.map.points

    @property
    def noun(self) -> str:
        """What one sample is called."""
        return NOUNS.get(self.ae.codec_.kind, "row")

    # -- colours ----------------------------------------------------------------------------------------------------

    @cached_property
    def errors(self) -> np.ndarray:
        """(n,) the reconstruction error of each row."""
        if self.X is None:
            raise DataError(NO_DATA)
        return self.ae.reconstruction_error(self.X)

    @cached_property
    def colours(self) -> dict[str, Colour]:
        """The ways to colour the points, by name; labels first."""
        found: list[Colour] = []
        if self._y is not None:
            found.append(
                Colour(self._y_name or str(getattr(self._y, "name", None) or "label"), lambda: _values(self._y))
            )
        folders = _folders(self.X)
        if folders is not None:
            found.append(Colour("folder", lambda: folders))
        if self.X is not None:
            found.append(Colour("reconstruction error", lambda: self.errors))
            found.append(Colour("anomaly score", lambda: self.oddities.scores))
        table = self._table if self._table is not None else self.X if is_table(self.X) else None
        if table is not None:
            unseen = set(self.ae.codec_.feature_names or [])
            columns = columns_of(table)
            found = [*(each for each in columns if each.name not in unseen), *found]
            found += [each for each in columns if each.name in unseen]
        order = np.argsort(-self.codes.astype(np.float64).std(0), kind="stable")[:MOST_SLIDERS]
        found += [Colour(f"code {i + 1}", lambda i=i: self.codes[:, i]) for i in np.sort(order).tolist()]
        named: dict[str, Colour] = {}
        for each in found:
            named.setdefault(each.name, each)
        return named

    # -- rows and codes ---------------------------------------------------------------------------------------------

    def row(self, row: int) -> Shown:
        """Return a row beside its reconstruction."""
        row = self._place(row)
        code, point = self.codes[row], self.points[row]
        if self.X is None:
            return Shown(row, f"{self.noun} {row}", code, point, self.decode(code[None])[0])
        some = self._taken([row])
        rows, told = self.ae.codec_.encode(some), self.ae._condition(some, None, 1)
        evidence = Evidence(rows, np.array([row]), code[None], np.zeros(1), np.arange(1), "new", 1, "", told)
        with few_at_once(self._few):
            cells = pairs(self.ae, evidence, np.arange(1))[0].cells
            rebuilt = previews(self.ae, self.ae.reconstruct(some))[0]
            error = float(self.ae.reconstruction_error(some)[0])  # of all rows it would take long, and be wanted soon
        name = image_label(self.X, row) or f"{self.noun} {row}"
        return Shown(row, name, code, point, rebuilt, previews(self.ae, some)[0], error, cells, self._known(row))

    def shown(self, rows: Sequence[int]) -> list[Preview]:
        """Return how rows are shown: themselves, or decoded from their codes where there is no data."""
        places = [self._place(row) for row in rows]
        return self.decode(self.codes[places]) if self.X is None else previews(self.ae, self._taken(places))

    def decode(self, codes: Any) -> list[Preview]:
        """Return what codes (m, latent) stand for."""
        with few_at_once(self._few):
            return previews(self.ae, self.ae.inverse_transform(np.asarray(codes, np.float32)))

    @cached_property
    def _few(self) -> int:
        """How many rows are computed at once where few are asked for."""
        return rows_for_few(lambda: self.ae.inverse_transform(self.codes[:1]))

    def first(self, X: Any) -> Any:
        """Return the first row of ``X``."""
        return taken(self.ae, X, np.zeros(1, np.int64))  # pyright: ignore[reportArgumentType]

    def code_at(self, point: Sequence[float], row: int | None = None) -> np.ndarray:
        """Return the code (latent,) at a point of the map: that of ``row``, moved within the map; else the mean code's."""
        if len(point) != 2 or not np.isfinite(point).all():
            raise DataError("a point of the map is two numbers.")
        base = self.codes.mean(0) if row is None else self.codes[self._place(row)]
        return self.map.lift(np.asarray(point, np.float64), base)

    # -- uses -------------------------------------------------------------------------------------------------------

    def walk(self, start: int, end: int, steps: int = 9, path: Literal["linear", "spherical"] = "linear") -> Walk:
        """Walk from one row to another."""
        with few_at_once(self._few):
            return self._walk(self._place(start), self._place(end), steps, path)

    def _walk(self, start: int, end: int, steps: int, path: Literal["linear", "spherical"]) -> Walk:
        if self.X is not None:
            return interpolate(self.ae, self._taken([start]), self._taken([end]), steps, path)
        if path not in ("linear", "spherical") or steps < 2:
            raise SettingError(f"path={path!r}, steps={steps}: use 'linear' or 'spherical' and at least 2 steps.")
        places = np.linspace(0, 1, steps)
        a, b = self.codes[[start]], self.codes[[end]]
        codes = np.stack([between(a, b, float(t), path) for t in places], axis=1)
        samples = self.ae.inverse_transform(codes[0])
        return Walk(samples, codes, places, ("pair 0",), self.ae.codec_.kind)

    def sample(self, n: int = 12, seed: int = 0) -> Any:
        """Draw new rows: what ``Autoencoder.sample`` draws."""
        with few_at_once(self._few):
            return self.ae.sample(n, random_state=seed)

    @property
    def drawn_from(self) -> str:
        """A sentence that says where new codes come from."""
        name = type(resolve_sampler(self.ae.sampler, self.ae.model_)).__name__
        said = _SAMPLERS.get(name, f"New codes are drawn by {name}.")
        if self.ae.model_.parts.bottleneck.is_distribution or name == "Prior":
            return said
        return f"The codes of this model have no prior. {said} ist.variational() has one."

    def drawn(self, places: Sequence[int], n: int, seed: int) -> Any:
        """Return some of the ``n`` rows that a seed draws."""
        return taken(self.ae, self.sample(n, seed), np.asarray(places))  # pyright: ignore[reportArgumentType]

    def neighbours(self, row: int | None = None, k: int = 8, *, x: Any = None, codes: Any = None) -> Neighbours:
        """Return the rows most like a row of the map, like other rows ``x``, or like ``codes``."""
        most = len(self) - (row is not None)
        if not most:
            raise DataError("There is one row alone, and nothing to compare it with; give more rows.")
        k = min(k, most)
        if row is not None:
            return self.index.query(rows=[self._place(row)], k=k)
        return self.index.query(codes=self.ae.transform(x) if codes is None else codes, k=k)

    @cached_property
    def index(self) -> Index:
        """What finds neighbours: the codes of all rows."""
        return Index(codes=self.codes)

    @cached_property
    def oddities(self) -> Oddities:
        """Which rows do not belong, and why."""
        if self.X is None:
            raise DataError(NO_DATA)
        return Oddities.of(self.model, self.X)

    @cached_property
    def health(self) -> dict[str, Any]:
        """The facts of the report: summary, findings, scores beside PCA, training, settings."""
        facts = report(self.ae, self.X if len(self) > 1 else None).to_dict()  # one row is no sample of anything
        return {name: facts[name] for name in ("title", "summary", "scope", "data", "scores", "health", "settings")}

    # -- facts ------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return what there is to know before anything is asked."""
        codes = self.codes.astype(np.float64)
        low, high = np.percentile(codes, [0.5, 99.5], axis=0)
        order = np.argsort(-codes.std(0), kind="stable")[:MOST_SLIDERS]
        return plain(
            {
                "kind": self.ae.codec_.kind,
                "noun": self.noun,
                "rows": len(self),
                "has_data": self.X is not None,
                "code_size": codes.shape[1],
                "sliders": np.sort(order),
                "mean": codes.mean(0),
                "low": np.minimum(low, codes.mean(0) - 1e-6),
                "high": np.maximum(high, codes.mean(0) + 1e-6),
                "map": {"method": self.map.method, "axes": self.map.axes},
                "colours": list(self.colours),
                "is_detector": isinstance(self.model, AnomalyDetector),
                "notes": self.notes,
            }
        )

    @property
    def notes(self) -> list[str]:
        """What is not as it could be, and what to do about it."""
        found = [NO_DATA] if self.X is None else []
        if len(self) < 3:
            found.append(
                f"There {'are two rows' if len(self) == 2 else 'is one row'}: a map of them says little. Give more rows; "
                "thresholds and neighbours need at least 20."
            )
        if self.codes.shape[1] > MOST_SLIDERS:
            found.append(f"A code has {self.codes.shape[1]} numbers; the {MOST_SLIDERS} that vary most have sliders.")
        return found

    def _taken(self, places: Sequence[int]) -> Any:
        return taken(self.ae, self.X, np.asarray(places))  # pyright: ignore[reportArgumentType] - it asks for the codec

    def _place(self, row: Any) -> int:
        if not hasattr(row, "__index__") or not 0 <= row < len(self):
            raise DataError(f"row {row!r} is not on the map, whose rows are 0 to {len(self) - 1}.")
        return int(row)

    def _known(self, row: int) -> tuple[tuple[str, Any], ...]:
        unseen = set(self.ae.codec_.feature_names or [])
        own = {"reconstruction error", "anomaly score", "folder"}
        return tuple(
            (name, colour.value(row))
            for name, colour in self.colours.items()
            if name not in unseen and name not in own and not name.startswith("code ")
        )


_SAMPLERS = {
    "Prior": "New codes are drawn from the prior of the model.",
    "Mixture": "New codes are drawn from a mixture of Gaussians fitted on codes of training rows.",
    "Flow": "New codes are drawn from a flow fitted on codes of training rows.",
    "Aggregated": "New codes are those of training rows, drawn at random.",
}


def autoencoder_of(model: Autoencoder | AnomalyDetector) -> Autoencoder:
    """Return the autoencoder whose codes are shown; of a detector's, the one with the longest code."""
    if isinstance(model, Autoencoder):
        return model
    head = model.judge_.heads.get("residual")
    members = getattr(head, "members", [])
    if not members or getattr(head, "groups", ()) or model.codec_.kind == "series":
        raise SettingError(
            "This detector judges by autoencoders that each see a part of a row, so none has a map of its own; explore an "
            "Autoencoder, or AnomalyDetector(autoencoder)."
        )
    return max(members, key=lambda member: member.code_size_)


def _values(y: Any) -> np.ndarray:
    return y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y)


def _folders(X: Any) -> np.ndarray | None:
    """Return the folder of each picture file, where they lie in several."""
    names = getattr(X, "names", None)
    if not names or not hasattr(X, "pixels"):
        return None
    folders = np.array([name.rpartition("/")[0] for name in names], object)
    return folders if len(set(folders.tolist())) > 1 else None
