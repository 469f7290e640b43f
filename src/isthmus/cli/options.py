"""The arguments and flags that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Argument(metavar="DATA", help="CSV, Parquet, npy, IDX, Zarr, .. or a folder of images.")]
Model = Annotated[Path, typer.Option("-m", "--model", metavar="MODEL", help="The folder of a saved model.")]
Out = Annotated[
    Path, typer.Option("-o", "--out", metavar="OUT", help="Where to write; the extension chooses the format.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]
