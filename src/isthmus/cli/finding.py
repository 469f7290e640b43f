"""`isthmus search` and `cluster`: which rows are alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.options import Data, Json, Out, RandomState
from isthmus.cli.options import Model as GivenModel
from isthmus.cli.printing import blank, print_facts, print_json, print_text
from isthmus.cli.reading import Reading, autoencoder_of, read_like, read_training
from isthmus.errors import DataError, ModelFileError

if TYPE_CHECKING:
    from isthmus.apps.retrieval import Index
    from isthmus.estimator import Autoencoder

_MOST_SHOWN = 12


def search(
    model: GivenModel,
    query: Annotated[
        str,
        typer.Option(metavar="ROWS|FILE", help="Rows of DATA by number, such as 0,5,7, or a file of rows to look up."),
    ],
    out: Out,
    data: Annotated[Path | None, typer.Argument(metavar="[DATA]", help="The rows to search among.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, metavar="N", help="How many neighbours.")] = 10,
    index: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the index there; it is taken up if it is there.")
    ] = None,
    metric: Annotated[str, typer.Option(metavar="NAME", help="auto, sqeuclidean, cosine or hamming.")] = "auto",
    store: Annotated[str, typer.Option(metavar="NAME", help="float32, int8 or binary.")] = "float32",
    backend: Annotated[
        str, typer.Option(metavar="NAME", help="auto, exact, or with FAISS flat, ivf or hnsw; or lance.")
    ] = "auto",
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help='With lance: only rows that pass, "price < 10".')
    ] = None,
    json: Json = False,
) -> None:
    """Find the rows of DATA that are most like others."""
    from isthmus.data import files

    for given in (data, Path(query)):
        if given is not None and given.exists() and out.exists() and out.samefile(given):
            raise DataError(f"{str(out)!r} is the input; give -o another name.")
    files.check_writable(out, "table")
    ae = autoencoder_of(model)
    found = _index(ae, data, index, {"metric": metric, "store": store, "backend": backend})
    if _is_rows(query):
        near = found.query(rows=[int(row) for row in query.split(",")], k=k, where=where)
    else:
        near = found.query(read_like(Path(query), ae)[0], k=k, where=where)
    table = near.to_table()
    files.write(table, out)
    facts = {"out": str(out), "queries": len(near.positions), "k": k, "metric": near.metric, "rows": len(found)}
    facts |= {"backend": found.backend_, "recall": found.recall_}
    if json:
        print_json(facts | ({} if index is None else {"index": str(index)}))
        return
    print_text(f"The {k} nearest of {len(found):,} rows for {len(near.positions):,} queries are in {out}")
    if found.recall_ < 1:
        print_text(f"backend {found.backend_}: finds {found.recall_:.1%} of the true ten nearest", "dim")
    if index is not None:
        print_facts({"index": str(index)})


def cluster(
    data: Data,
    out: Out,
    model: Annotated[
        Path | None, typer.Option("-m", "--model", metavar="MODEL", help="A saved model; else one is trained on DATA.")
    ] = None,
    k: Annotated[str, typer.Option("-k", metavar="N|auto", help="How many groups.")] = "auto",
    method: Annotated[str, typer.Option(metavar="NAME", help="kmeans, mixture or hdbscan.")] = "kmeans",
    refine: Annotated[bool, typer.Option("--refine", help="Let the encoder learn on, towards the groups.")] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Save the groups and their model there, for ist.load.")
    ] = None,
    random_state: RandomState = None,
    json: Json = False,
) -> None:
    """Write the group of every row of DATA, and say what the groups are made of."""
    from isthmus.apps.clustering import Clusterer
    from isthmus.data import files

    if out.exists() and data.exists() and out.samefile(data):
        raise DataError(f"{str(out)!r} is the input; give -o another name.")
    files.check_writable(out, "table")
    n_clusters = int(k) if k.isdecimal() else k
    if model is None:
        X, reading = read_training(data, Reading())
        table = X if hasattr(X, "column_names") else None
        clusterer = Clusterer(n_clusters, method, None, refine, random_state).fit(X)
        clusterer.autoencoder_.reading_ = reading.to_json()
    else:
        ae = autoencoder_of(model)
        X, table = read_like(data, ae)
        clusterer = Clusterer(n_clusters, method, ae, refine, random_state).fit(X)
    found = clusterer.clustering_
    files.write(_with_groups(table, X, clusterer), out)
    if save is not None:
        clusterer.save(save)
    if json:
        print_json({"out": str(out)} | found.to_dict())
        return
    for sentence in found.sentences():
        print_text(sentence)
    blank()
    for group in found.clusters[:_MOST_SHOWN]:
        from isthmus.apps.clustering.summary import describe

        print_text(f"group {group.label}: {group.size:,} rows", "bold")
        typical = "typical rows " + ", ".join(map(str, group.exemplars[:3]))
        print_text("; ".join([typical, *map(describe, group.distinctions)]), indent=2)
    blank()
    print_facts({"groups": str(out)} | ({} if save is None else {"saved": str(save)}))


def _index(ae: Autoencoder, data: Path | None, folder: Path | None, settings: dict[str, Any]) -> Index:
    """Load the index that is kept, or make one of DATA."""
    from isthmus.apps.retrieval.index import Index, data_fingerprint

    kept = folder is not None and folder.exists() and any(folder.iterdir())
    if data is None:
        if not kept:
            raise DataError("there is no index yet: give DATA, the rows to search among.")
        assert folder is not None, "what is kept is kept somewhere"
        return Index.load(folder, ae)
    X, table = read_like(data, ae)
    if kept:
        assert folder is not None, "what is kept is kept somewhere"
        found = Index.load(folder, ae)
        if found.data_fingerprint not in (None, data_fingerprint(ae, X)):
            raise ModelFileError(
                f"{folder} is an index of other rows than {str(data)!r}; leave out DATA to search there, or give --index "
                "another folder."
            )
        return found
    path = folder if settings["backend"] == "lance" else None
    found = Index(ae, X, _known(table, X), path=path, **settings)
    if folder is not None and path is None:
        found.save(folder)
    return found


def _is_rows(query: str) -> bool:
    return not Path(query).exists() and all(row.strip().isdecimal() for row in query.split(","))


def _known(table: Any, X: Any) -> Any:
    """Return what is known of each row: the columns of its file, or the name of its picture."""
    from isthmus.data import Images

    if isinstance(X, Images):
        return {"file": list(X.names)}
    return table if table is not None and len(table) == len(X) else None


def _with_groups(table: Any, X: Any, clusterer: Any) -> Any:
    """Return the columns of DATA, the group of each row and how probable it is."""
    import pyarrow as pa

    known = _known(table, X)
    columns = (
        dict(known) if isinstance(known, dict) else {} if known is None else {n: known[n] for n in known.column_names}
    )
    name = "cluster" if "cluster" not in columns else "cluster_"
    columns[name] = pa.array(clusterer.labels_)
    if clusterer.probabilities_ is not None:
        sure = clusterer.probabilities_
        columns["probability" if "probability" not in columns else "probability_"] = pa.array(
            sure.max(1) if sure.ndim == 2 else sure
        )
    return pa.table(columns)
