"""The index: codes of many rows, and the nearest of them to a new one."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isthmus import persistence
from isthmus.apps.retrieval.approximate import JUDGES, KINDS, NEIGHBOURS, Approximate, chosen, recall_of
from isthmus.apps.retrieval.exact import Exact, Found, Hamming
from isthmus.apps.retrieval.metric import METRICS
from isthmus.apps.retrieval.neighbours import Neighbours
from isthmus.apps.retrieval.ondisk import FOLDER, OnDisk, imported
from isthmus.apps.retrieval.stores import Bits, Full, Rounded, Store, on_disk
from isthmus.data import Images
from isthmus.data.containers import is_table
from isthmus.data.fingerprint import fingerprint
from isthmus.errors import DataError, ModelFileError, SettingError
from isthmus.inputs import check_input

if TYPE_CHECKING:
    import pyarrow as pa

    from isthmus.estimator import Autoencoder

STORES = ("float32", "int8", "binary")
BACKENDS = ("auto", "exact", *KINDS, "faiss", "lance")


class Index:
    """Find the rows whose codes are nearest to that of another row.

    Parameters
    ----------
    ae : a fitted autoencoder; it encodes ``X`` here and what is asked for later. None for codes alone.
    X : the rows to search among.
    metadata : a table (pandas, polars, Arrow, {name: values}) with a row for each row of X, handed back with the answers.
    codes : codes (n, d) instead of X, where they are known.
    store : how codes are held: "float32"; "int8", a quarter of that; "binary", a bit a number, for ``ist.binary()``.
    metric : "sqeuclidean", "cosine", or "hamming" for bits; "auto" is the first, or the last for bits.
    backend : "exact"; with FAISS "flat", "ivf" or "hnsw"; "lance", rows on disk in LanceDB. "auto" is exact below 20,000
        rows, for bits, and where FAISS is not installed; else "ivf", or "hnsw" for codes of more than 64 numbers, which is
        also what "faiss" says.
    rerank : with "int8", keep float32 codes in a file too, and measure the nearest by those.
    path : with "lance", the folder the rows are written to; the index is saved there.

    Attributes
    ----------
    recall_ : the share of the true ten nearest that a search finds, measured on rows that an approximate index had not seen;
        with "int8", on rows that are not counted as their own neighbours; 1 if exact.
    backend_, metric_ : what "auto" became.

    >>> import isthmus as ist, numpy as np
    >>> index = ist.Index(codes=np.eye(4, dtype=np.float32))
    >>> index.query(codes=[[0.9, 0, 0, 0]], k=1).positions
    array([[0]])
    """

    def __init__(
        self,
        ae: Autoencoder | None = None,
        X: Any = None,
        metadata: Any = None,
        *,
        codes: Any = None,
        store: str = "float32",
        metric: str = "auto",
        backend: str = "auto",
        rerank: bool = False,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        if ae is not None:
            check_is_fitted(ae)
        self.ae = ae
        self.model_fingerprint = None if ae is None else model_fingerprint(ae)
        self.data_fingerprint = None if X is None or ae is None else data_fingerprint(ae, X)
        found = self._codes(X, codes)
        self.metric_ = _metric(metric, store)
        self.backend_ = _backend(backend, store, rerank, path, found.shape)
        self.metadata = _table(metadata, len(found))
        self.code_size = found.shape[1]
        if self.backend_ == "lance":
            folder, self.data_fingerprint = Path(os.fspath(path or "")), None  # rows may be added behind our back
            imported()
            self._refuse_other(folder)
            persistence.write(self._saved(len(found), OnDisk.recall), folder)
            known, self.metadata = self.metadata, None
            self._search: Any = OnDisk.build(folder / FOLDER, self._prepared(found), known, METRICS[self.metric_])
        else:
            self._store = _stored(self._prepared(found), store, rerank)
            self._search = self._searcher(self.backend_)
            if store == "int8":
                self._search.recall = self._recall_after_rounding(Full(self._prepared(found)))

    def __len__(self) -> int:
        return len(self._search if self.backend_ == "lance" else self._store)

    @property
    def recall_(self) -> float:
        return self._search.recall

    def query(
        self, x: Any = None, k: int = 10, *, codes: Any = None, rows: Any = None, where: Any = None
    ) -> Neighbours:
        """Return the ``k`` nearest rows of each query.

        Parameters
        ----------
        x : rows, pictures or one of them, as the model takes them; or ``codes`` (q, d); or ``rows``, positions in the index,
            whose neighbours are others than themselves.
        where : only rows that pass: a mask (n,), an Arrow expression on the metadata, or for "lance" an SQL condition.
        """
        among = self._among(where)
        own = None if rows is None else self._positions(rows)
        queries = self._codes_of(own) if own is not None else self._prepared(self._codes(_several(self.ae, x), codes))
        if queries.shape[1] != self.code_size:
            raise DataError(f"The queries have codes of {queries.shape[1]} numbers, but the index of {self.code_size}.")
        most = len(self) - (own is not None)
        if not hasattr(k, "__index__") or not 1 <= k <= most:
            raise SettingError(f"k={k!r} must be a whole number from 1 to {most}, the rows there are to find.")
        found = self._search.search(queries, k + (own is not None), among)
        found = found if own is None else _others(found, own)
        return Neighbours(found.positions, found.distances, self.metric_, self._known(found.positions.ravel()))

    def add(self, X: Any = None, metadata: Any = None, *, codes: Any = None) -> Self:
        """Append rows, with what is known of them."""
        fresh = self._prepared(self._codes(X, codes))
        if fresh.shape[1] != self.code_size:
            raise DataError(f"The rows have codes of {fresh.shape[1]} numbers, but the index of {self.code_size}.")
        table = _table(metadata, len(fresh))
        before = self._search.table.schema.names[2:] if self.backend_ == "lance" else _names(self.metadata)
        if set(before) != set(_names(table)):
            raise DataError(
                f"The metadata of the index has the columns {list(before)}; give the same for the new rows."
            )
        if self.backend_ == "lance":
            self._search.extend(fresh, table)
        else:
            self._store.extend(fresh)
            self._search.refresh()
            self.metadata = None if self.metadata is None else _joined(self.metadata, table)
        self.data_fingerprint = None
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index folder; it names the model by its fingerprint, and does not hold it."""
        self._refuse_other(Path(path))
        persistence.write(self._saved(len(self), self.recall_), path)
        if self.backend_ == "lance":
            self._search.copy_to(Path(path) / FOLDER)

    def _saved(self, n: int, recall: float) -> persistence.Saved:
        config: dict[str, Any] = {
            "metric": self.metric_,
            "backend": self.backend_,
            "code_size": self.code_size,
            "model": self.model_fingerprint,
            "data": self.data_fingerprint,
            "recall": recall,
        }
        arrays: dict[str, np.ndarray] = {}
        if self.backend_ != "lance":
            config["store"] = self._store.name
            arrays |= self._store.arrays()
            if self.metadata is not None:
                arrays["metadata"] = _to_bytes(self.metadata)
            if isinstance(self._search, Approximate):
                config["effort"] = self._search.effort
                arrays |= self._search.arrays()
        card = (
            f"# An Isthmus index\n\n{n:,} codes of {self.code_size} numbers, {self.metric_} distance, backend "
            f"{self.backend_!r}, recall {recall:.4f}.\n\n```python\nimport isthmus as ist\n"
            'index = ist.Index.load("this folder", ist.load("the model it was made with"))\nindex.query(x, k=10)\n```\n'
        )
        return persistence.Saved("index", config, {}, {}, arrays, card=card)

    @classmethod
    def load(cls, path: str | os.PathLike[str], ae: Autoencoder | None = None) -> Self:
        """Load an index; ``ae`` is the model it was made with, without which it takes codes and positions only."""
        saved = persistence.read(Path(path))
        if saved.kind != "index":
            raise ModelFileError(f"{path} holds a {saved.kind!r}, not an index; make one with isthmus.Index(ae, X).")
        return cls._restored(saved, Path(path), ae)

    @classmethod
    def _restored(cls, saved: persistence.Saved, path: Path, ae: Autoencoder | None) -> Self:
        config, arrays = saved.config, saved.arrays
        index = cls.__new__(cls)
        index.ae, index.metric_, index.backend_ = ae, config["metric"], config["backend"]
        index.model_fingerprint, index.data_fingerprint = config["model"], config["data"]
        index.code_size = config["code_size"]
        index.metadata = _from_bytes(arrays["metadata"]) if "metadata" in arrays else None
        if ae is not None:
            check_is_fitted(ae)
            index._refuse_strangers(str(path))
        if index.backend_ == "lance":
            index._search = OnDisk(path / FOLDER, METRICS[index.metric_])
            return index
        index._store = _from_arrays(config["store"], arrays, index.code_size)
        if index.backend_ == "exact":
            index._search = index._searcher("exact")
            index._search.recall = config["recall"]
        else:
            exact = Exact(index._store, METRICS[index.metric_])
            index._search = Approximate.restored(index.backend_, arrays, config["effort"], config["recall"], exact)
        return index

    # -- codes ------------------------------------------------------------------------------------------------------

    def _codes(self, X: Any, codes: Any) -> np.ndarray:
        """Return the codes of X, or check those that are given: (n, d) float32."""
        if (X is None) == (codes is None):
            raise SettingError("Give rows of data or codes=, one of them.")
        if codes is None:
            if self.ae is None:
                raise SettingError("This index has no model to encode rows with; give codes=, or Index.load(path, ae).")
            self._refuse_strangers("The index")
            return self.ae.transform(X)
        found = np.ascontiguousarray(np.asarray(codes, np.float32))
        if found.ndim != 2 or not found.size:
            raise DataError(f"codes must be an array (rows, numbers), not of the shape {found.shape}.")
        if not np.isfinite(found).all():
            raise DataError("The codes hold NaN or infinite values, which are near nothing; remove those rows.")
        return found

    def _prepared(self, codes: np.ndarray) -> np.ndarray:
        return codes if self.metric_ == "hamming" else METRICS[self.metric_].prepared(codes)

    def _codes_of(self, positions: np.ndarray) -> np.ndarray:
        return self._search.codes_at(positions) if self.backend_ == "lance" else self._store.exact(positions)

    def _positions(self, rows: Any) -> np.ndarray:
        positions = np.atleast_1d(np.asarray(rows))
        if positions.dtype.kind not in "iu" or positions.ndim != 1 or not len(positions):
            raise DataError(f"rows={rows!r} must be positions in the index: whole numbers, counted from 0.")
        wrong = positions[(positions < 0) | (positions >= len(self))]
        if len(wrong):
            raise DataError(f"rows asks for row {wrong[0]}, but the index has {len(self)}, counted from 0.")
        return positions.astype(np.int64)

    def _refuse_strangers(self, what: str) -> None:
        if self.model_fingerprint is None:
            raise ModelFileError(f"{what} was made of codes without a model, so it can only be asked by codes=.")
        if model_fingerprint(self.ae) != self.model_fingerprint:
            raise ModelFileError(
                f"{what} was made with another model, or with this one before it learned on; codes of two models cannot be "
                "compared. Load the model it was made with, or make a new index."
            )

    # -- searching --------------------------------------------------------------------------------------------------

    def _searcher(self, backend: str) -> Any:
        if isinstance(self._store, Bits):
            return Hamming(self._store)
        metric = METRICS[self.metric_]
        return Exact(self._store, metric) if backend == "exact" else Approximate.build(backend, self._store, metric)

    def _recall_after_rounding(self, full: Full) -> float:
        """Return the share of the neighbours among float32 codes that are found, for some rows, themselves apart."""
        k = min(NEIGHBOURS, len(full) - 1)
        if k < 1:
            return 1.0
        own = np.sort(np.random.default_rng(0).permutation(len(full))[:JUDGES])
        queries = full.at(own)
        right = _others(Exact(full, METRICS[self.metric_]).search(queries, k + 1), own).positions
        found = _others(self._search.search(queries, k + 1), own).positions
        return recall_of(found, right)

    def _among(self, where: Any) -> Any:
        """Return what passes a filter: positions, or for LanceDB the condition itself; None for all."""
        if where is None:
            return None
        if isinstance(where, str):
            if self.backend_ != "lance":
                raise SettingError(
                    "where as SQL text is for backend='lance'; give a mask (n,), or an Arrow expression such as "
                    "pyarrow.compute.field('price') < 10."
                )
            return where
        if self.backend_ == "lance":
            raise SettingError("backend='lance' filters by SQL: where=\"price < 10\".")
        if not hasattr(where, "__len__"):
            if self.metadata is None:
                raise SettingError("where is an expression on metadata, but the index has none; give a mask (n,).")
            import pyarrow as pa

            places = pa.array(np.arange(len(self)))
            where = np.isin(places, self.metadata.append_column("_place", places).filter(where)["_place"])
        mask = np.asarray(where)
        if mask.dtype != bool or mask.shape != (len(self),):
            raise SettingError(f"where must be a mask of booleans ({len(self)},), not {mask.dtype} of {mask.shape}.")
        return np.flatnonzero(mask)

    def _known(self, positions: np.ndarray) -> Any:
        if self.backend_ == "lance":
            return self._search.known(positions)
        if self.metadata is None:
            return None
        import pyarrow as pa

        return self.metadata.take(pa.array(positions, mask=positions < 0))

    def _refuse_other(self, folder: Path) -> None:
        """An index does not replace a model."""
        if persistence.is_model(folder):
            kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("kind")
            if kind != "index":
                raise ModelFileError(f"{folder} holds a {kind!r}; give the index a folder of its own.")


def model_fingerprint(ae: Any) -> str:
    """Return a hash of all that makes the codes of a model: weights and codec."""
    digest = hashlib.sha256(json.dumps(ae.codec_.to_json(), sort_keys=True).encode())
    weights = {name: value.detach().cpu().numpy() for name, value in ae.model_.state_dict().items()}
    for name, values in sorted((weights | ae.codec_.arrays()).items()):
        digest.update(name.encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def data_fingerprint(ae: Any, X: Any) -> str:
    """Return a short name of rows, as a model sees them."""
    return fingerprint(ae.codec_.view(check_input(ae, X, reset=False)))


def _metric(metric: str, store: str) -> str:
    if store not in STORES:
        raise SettingError(f"store={store!r} is not known; choose one of {', '.join(STORES)}.")
    known = ("hamming",) if store == "binary" else tuple(METRICS)
    if metric == "auto":
        return known[0]
    if metric not in known:
        raise SettingError(f"metric={metric!r} is not for store={store!r}; choose one of {', '.join(known)}.")
    return metric


def _backend(backend: str, store: str, rerank: bool, path: Any, shape: tuple[int, ...]) -> str:
    if backend not in BACKENDS:
        raise SettingError(f"backend={backend!r} is not known; choose one of {', '.join(BACKENDS)}.")
    if rerank and store != "int8":
        raise SettingError(f"rerank=True is for store='int8'; store={store!r} has nothing to measure anew.")
    if (path is None) == (backend == "lance"):
        raise SettingError(
            "path= is the folder of backend='lance': give both, or neither (save() keeps any other index)."
        )
    if store == "binary":
        if backend not in ("auto", "exact"):
            raise SettingError(f"store='binary' is searched exactly; backend={backend!r} is for numbers.")
        return "exact"
    if backend == "lance" and store != "float32":
        raise SettingError(f"backend='lance' holds float32 on disk; leave out store={store!r}.")
    if backend == "auto":
        return chosen(*shape)
    if backend == "faiss":
        return "ivf" if shape[1] <= 64 else "hnsw"
    return backend


def _stored(codes: np.ndarray, store: str, rerank: bool) -> Store:
    if store == "binary":
        return Bits.of(codes)
    return Rounded.of(codes, rerank) if store == "int8" else Full(codes)


def _from_arrays(name: str, arrays: dict[str, np.ndarray], d: int) -> Store:
    if name == "binary":
        return Bits(np.ascontiguousarray(arrays["packed"]).view(np.uint64), d)
    if name == "float32":
        return Full(arrays["codes"])
    full = arrays.get("full")
    return Rounded(arrays["codes"], arrays["offset"], arrays["step"], None if full is None else on_disk(full))


def _several(ae: Any, x: Any) -> Any:
    """Return one row or one picture as several."""
    if isinstance(x, dict):
        import pyarrow as pa

        return pa.table({name: values if isinstance(values, list) else [values] for name, values in x.items()})
    if ae is None or x is None or isinstance(x, Images) or is_table(x) or not hasattr(x, "ndim"):
        return x
    shape = ae.codec_.layout.shape
    is_one = x.ndim == 1 or (ae.codec_.kind == "images" and (x.ndim == 2 or (x.ndim == 3 and x.shape == shape)))
    return x[None] if is_one else x


def _others(found: Found, own: np.ndarray) -> Found:
    """Leave each row out of its own neighbours; where so many are as near that it was not among them, leave out the last."""
    keep = found.positions != own[:, None]
    keep[keep.all(1), -1] = False
    shape = (len(own), found.positions.shape[1] - 1)
    return Found(found.positions[keep].reshape(shape), found.distances[keep].reshape(shape))


def _table(metadata: Any, n: int) -> pa.Table | None:
    """Return metadata as an Arrow table of n rows."""
    if metadata is None:
        return None
    import pyarrow as pa

    if isinstance(metadata, dict):
        table = pa.table(metadata)
    elif isinstance(metadata, pa.Table):
        table = metadata
    elif is_table(metadata):
        import narwhals as nw

        table = nw.from_native(metadata, eager_only=True).to_arrow()
    else:
        raise DataError(f"metadata must be a table or {{name: values}}, not {type(metadata).__name__}.")
    if table.num_rows != n:
        raise DataError(f"metadata has {table.num_rows} rows, but there are {n} to describe.")
    return table


def _names(table: pa.Table | None) -> list[str]:
    return [] if table is None else table.column_names


def _joined(before: pa.Table, after: pa.Table | None) -> pa.Table:
    import pyarrow as pa

    assert after is not None, "the columns were compared"
    try:
        return pa.concat_tables([before, after.select(before.column_names).cast(before.schema)])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise DataError(f"the metadata of the new rows has other types than that of the index: {error}") from error


def _to_bytes(table: pa.Table) -> np.ndarray:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return np.frombuffer(sink.getvalue(), np.uint8)


def _from_bytes(data: np.ndarray) -> pa.Table:
    import pyarrow as pa

    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()


def _rebuild(saved: persistence.Saved, ae: Autoencoder | None = None) -> Index:
    if saved.config["backend"] == "lance":
        raise ModelFileError("its rows lie on disk beside it; load it with isthmus.Index.load(path, ae).")
    return Index._restored(saved, Path(), ae)


persistence.register("index", _rebuild)
