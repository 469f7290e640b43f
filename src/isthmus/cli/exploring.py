"""`isthmus explore`: a page on which a latent space is looked at."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.printing import print_text
from isthmus.cli.reading import read_like
from isthmus.cli.serving import KEY, LOCAL, key_of
from isthmus.errors import DataError, SettingError

if TYPE_CHECKING:
    import numpy as np

PORT = 8642
SECONDS = 600.0
"""For an answer: judging many rows takes its time."""


def explore(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="The folder of a saved autoencoder, or of a detector.")
    ],
    data: Annotated[Path | None, typer.Argument(metavar="[DATA]", help="The rows to look at.")] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One value a row to colour by: CSV, npy, IDX.")
    ] = None,
    layout: Annotated[
        str, typer.Option("--map", metavar="NAME", help="How codes become points: auto, pca or umap.")
    ] = "auto",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="N", help=f"{PORT} or the next that is free; 0 takes any.")
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; elsewhere than here needs a key.")
    ] = "127.0.0.1",
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"The key that the page asks for; or {KEY} says it.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, and open nothing.")] = False,
) -> None:
    """Look at a latent space: a page where every row is a point, and the decoder draws what you point at."""
    key = key_of(key_file)
    if host not in LOCAL and key is None:
        raise SettingError(
            f"--host {host} lets others in, and there is no key; give --key-file FILE or set {KEY}, or leave --host out."
        )
    if labels is not None and data is None:
        raise DataError("--labels are values of the rows of DATA; give the data too.")
    free = _free(host, port)

    from isthmus import load
    from isthmus.apps.exploring import Exploration
    from isthmus.errors import ModelFileError
    from isthmus.web.app import LOOPBACK, Settings, create_app
    from isthmus.web.exploring import Explorer
    from isthmus.web.guard import Limits
    from isthmus.web.logs import log_to_stderr
    from isthmus.web.models import Served
    from isthmus.web.pages import STATIC, explorer_page
    from isthmus.web.server import run

    loaded = load(model)
    X, table = (None, None) if data is None else read_like(data, loaded)
    if not hasattr(loaded, "codec_"):
        raise ModelFileError(f"{model} holds a {type(loaded).__name__}; autoencoders and detectors can be explored.")
    y = None if labels is None else _labels(labels)
    table = table if table is not None and X is not None and len(table) == len(X) else None
    found = Exploration(loaded, X, y, table=table, method=layout)
    name = model.resolve().name
    explorer = Explorer(found, name, lambda path: read_like(path, loaded)[0])
    explorer.answer("rows/0")  # what the first answer alone has to wait for
    settings = Settings(key, LOOPBACK if host in LOCAL and key is None else None, Limits(seconds=SECONDS))
    app = create_app([Served(_plain(name), loaded).prepared()], settings, [explorer_page(explorer)])
    app.open |= STATIC.keys()
    log_to_stderr("warning")
    size = found.codes.shape[1]
    print_text(
        f"{name}: {len(found):,} {found.noun}{'s' * (len(found) != 1)}, a code of {size} number{'s' * (size != 1)}"
    )
    run(app, host, free, lambda host, port: _tell(host, port, key is not None, no_browser))


def _tell(host: str, port: int, has_key: bool, no_browser: bool) -> None:
    place = f"[{host}]" if ":" in host else host
    address = f"http://{place}:{port}/"
    print_text(f"{address}{'  The page asks for the key.' if has_key else ''}  Ctrl-C stops.")
    if not no_browser:
        import threading
        import webbrowser

        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _free(host: str, port: int | None) -> int:
    """Return a port that nobody listens on: the one that is asked for, else the first from ``PORT`` on."""
    for wanted in range(PORT, PORT + 50) if port is None else (port,):
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, wanted))
                return wanted
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SettingError(f"--host {host} --port {wanted} cannot be listened on: {error.strerror}.") from error
    raise SettingError(f"port {port or PORT} is in use; give --port N, or 0 for any that is free.")


def _labels(path: Path) -> np.ndarray:
    """Return one value a row: an array, or the only column of a table."""
    from isthmus.data import files

    found: Any = files.read(path)
    if hasattr(found, "column_names"):
        if len(found.column_names) != 1:
            raise DataError(f"{str(path)!r} has {len(found.column_names)} columns, and labels are one; keep that one.")
        return found.column(0).to_numpy()
    if getattr(found, "ndim", 0) != 1:
        raise DataError(f"{str(path)!r} holds no list of labels, one value a row; give CSV, npy or IDX of one axis.")
    return found


def _plain(name: str) -> str:
    """Return a name that can stand in an address."""
    return (
        "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in name)
        or "model"
    )
