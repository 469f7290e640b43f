"""`isthmus serve` and `export`: a model for other programs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.options import Json
from isthmus.cli.printing import print_json, print_text
from isthmus.errors import DataError, SettingError

KEY = "ISTHMUS_API_KEY"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
LOCAL = ("127.0.0.1", "localhost", "::1")
_LIMITS = "What one request may ask"


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The folder of a saved autoencoder.")],
    onnx: Annotated[
        bool, typer.Option("--onnx", help="As one ONNX graph: encode, decode, reconstruct, score.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="OUT", help="The file; MODEL/model.onnx if left out.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a model as a file that other programs run, checked against torch before it is kept."""
    from isthmus import load
    from isthmus.apps.exporting import export_onnx
    from isthmus.apps.exporting.runtime import BESIDE
    from isthmus.estimator import Autoencoder

    if not onnx:
        raise SettingError("say what to export to: --onnx is what there is.")
    ae = load(model)
    if not isinstance(ae, Autoencoder):
        raise SettingError(f"{model} holds a {type(ae).__name__}; autoencoders can be exported, others served.")
    done = export_onnx(ae, out or model / BESIDE)
    if json:
        print_json(done.to_dict())
        return
    print_text(
        f"{done.path}: one graph, opset {done.opset}, x (rows, {', '.join(map(str, done.sample))}), z (codes, {done.latent})"
    )
    largest = ", ".join(f"{name} {value:.1g}" for name, value in done.differences.items())
    print_text(f"largest difference from torch at batches of 1, 7 and 256: {largest}")


def serve(
    models: Annotated[
        list[str], typer.Argument(metavar="[NAME=]MODEL...", help="Folders of saved autoencoders and detectors.")
    ],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; elsewhere than here needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0 takes any that is free.")] = 8000,
    index: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]FOLDER", help="An index (isthmus search --index) for neighbours; repeatable."),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"The key that clients must send; or {KEY} says it.")
    ] = None,
    runtime: Annotated[
        str, typer.Option(metavar="NAME", help="auto, torch or onnx; auto takes the graph that lies in MODEL.")
    ] = "auto",
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads that compute a batch.")] = 1,
    batching: Annotated[
        bool, typer.Option("--batching/--no-batching", help="Compute requests that wait together in one go.")
    ] = True,
    max_body: Annotated[float, typer.Option(min=0, metavar="MB", help="Megabytes.", rich_help_panel=_LIMITS)] = 64,
    max_rows: Annotated[int, typer.Option(min=1, metavar="N", help="Rows.", rich_help_panel=_LIMITS)] = 100_000,
    max_requests: Annotated[
        int, typer.Option(min=1, metavar="N", help="Requests in flight, of all clients.", rich_help_panel=_LIMITS)
    ] = 256,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="S", help="Seconds.", rich_help_panel=_LIMITS)] = 60,
    arrival: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds for a request to arrive.", rich_help_panel=_LIMITS)
    ] = 15,
    log_level: Annotated[str, typer.Option(metavar="NAME", help="debug, info, warning or error.")] = "info",
) -> None:
    """Answer other programs over HTTP: encode, decode, reconstruct, score, detect, sample, interpolate, neighbours."""
    key = key_of(key_file)
    if host not in LOCAL and key is None:
        raise SettingError(
            f"--host {host} lets others in, and there is no key; give --key-file FILE or set {KEY}, or leave --host out."
        )
    if log_level not in ("debug", "info", "warning", "error"):
        raise SettingError(f"--log-level {log_level!r} is not known; use debug, info, warning or error.")
    named, indices = _named(models), _named(index or [], only=len(models) == 1)
    if len(models) == 1 and list(indices) == [""]:
        indices = {next(iter(named)): indices[""]}
    if strangers := indices.keys() - named.keys():
        raise SettingError(f"--index {min(strangers)!r} names no model; there are {', '.join(named)}.")

    from isthmus.threads import keep_to
    from isthmus.web.app import LOOPBACK, Settings, create_app
    from isthmus.web.guard import Limits
    from isthmus.web.logs import log_to_stderr
    from isthmus.web.models import Served
    from isthmus.web.server import run

    keep_to(threads)
    limits = Limits(int(max_body * 2**20), max_rows, max_requests, timeout, arrival)
    served = [Served.load(name, path, indices.get(name), runtime, threads) for name, path in named.items()]
    settings = Settings(key, LOOPBACK if host in LOCAL and key is None else None, limits, batching, threads)
    log_to_stderr(log_level)
    run(create_app(served, settings), host, port, _tell)


def _tell(host: str, port: int) -> None:
    place = f"[{host}]" if ":" in host else host
    print_text(f"http://{place}:{port}/v1/models; /openapi.json says how to ask. Ctrl-C stops.")


def _named(given: list[str], only: bool = False) -> dict[str, Path]:
    """Return folders by name: NAME=FOLDER, else the name of the folder; "" for ``only`` one without a name."""
    found: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or "/" in name:
            name, path = "" if only else Path(text).resolve().name, text
        if not (only and not name) and not _NAME.match(name):
            raise SettingError(
                f"{name!r} is no name for a model; say NAME={path}, in letters, digits, dots and dashes."
            )
        if name in found:
            raise SettingError(f"two models are called {name!r}; name one of them otherwise: NAME={path}.")
        found[name] = Path(path)
    return found


def key_of(file: Path | None) -> str | None:
    """Return the key that clients must send; None where there is none."""
    if file is None:
        found = os.environ.get(KEY)
        if found is None:
            return None
    else:
        try:
            found = file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the key file {str(file)!r} cannot be read: {error}.") from error
    if len(found) < 16:
        raise SettingError("the key has fewer than 16 characters; make one with: openssl rand -hex 24")
    return found
