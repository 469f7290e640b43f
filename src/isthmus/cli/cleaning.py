"""`isthmus denoise`: take the noise from pictures, tables, arrays and series."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.options import Data, Gaps, Header, Json, Out, Seed, Step, Window
from isthmus.cli.printing import print_json, print_text
from isthmus.cli.reading import Reading, read_like, read_training
from isthmus.cli.using import check_place, spare_the_input
from isthmus.errors import DataError, SettingError

if TYPE_CHECKING:
    from isthmus.apps.denoising.denoiser import Denoiser

_Model = Annotated[
    Path | None, typer.Option("-m", "--model", metavar="MODEL", help="A denoiser that was saved; nothing is learned.")
]
_Clean = Annotated[Path | None, typer.Option(metavar="DATA", help="Clean examples to learn from: by far the best.")]
_Regime = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="noisy: learn from DATA itself; single: each picture alone. Chosen by the data."),
]
_Sigma = Annotated[
    float | None,
    typer.Option(metavar="X", help="The standard deviation of the noise, where it is known: 25 for bytes."),
]
_Save = Annotated[Path | None, typer.Option(metavar="MODEL", help="Keep what was learned in this folder.")]
_FEW, _SMALL = 20, 64
"""Fewer pictures than so many, or pictures with longer sides, are restored each alone unless told otherwise."""


def denoise(
    data: Data,
    out: Out,
    model: _Model = None,
    clean: _Clean = None,
    regime: _Regime = None,
    sigma: _Sigma = None,
    save: _Save = None,
    gaps: Gaps = None,
    header: Header = None,
    window: Window = None,
    step: Step = None,
    random_state: Seed = None,
    json: Json = False,
) -> None:
    """Write DATA without its noise: what was learned from clean examples, from DATA itself, or each picture alone."""
    spare_the_input(data, out)
    if model is not None and not (clean is None and regime is None and sigma is None):
        raise SettingError(
            "a saved denoiser has its regime and sigma; leave out --clean, --regime and --sigma with -m."
        )
    reading = Reading(tuple(gaps or ()), "auto" if header is None else header, window=window, step=step or 1)
    X, names = _pictures(data)
    settings = {"sigma": sigma, "random_state": random_state}
    if model is not None:
        denoiser = _loaded(model)
        X = read_like(data, denoiser)[0] if X is None else X  # pyright: ignore[reportArgumentType] - has a codec as well
    elif clean is not None:
        if regime not in (None, "clean"):
            raise SettingError(f"--regime {regime} does not learn from --clean; leave one of them out.")
        denoiser = _fitted({"regime": "clean"} | settings, clean, None, reading)
        X = read_like(data, denoiser)[0] if X is None else X  # pyright: ignore[reportArgumentType]
    else:
        if regime == "clean":
            raise SettingError("regime 'clean' learns from clean examples; name them: --clean DATA.")
        denoiser = _fitted({"regime": regime or _choose(X)} | settings, data, X, reading)
        X = read_like(data, denoiser)[0] if X is None else X  # pyright: ignore[reportArgumentType]
    if names is None:
        check_place(out, denoiser.codec_.kind, folded=True)
    if save is not None:
        denoiser.save(save)
    found = denoiser.denoise(X)
    if names is None:
        from isthmus.data import files

        files.write(_named(found.restored, denoiser), out)
    else:
        _write(found.restored, names, out)
    if json:
        print_json({"out": str(out), **found.to_dict()})
        return
    for sentence in found.sentences():
        print_text(sentence)
    print_text(f"What was restored is in {out}")


def _pictures(data: Path) -> tuple[list[Any] | None, list[str] | None]:
    """Return pictures at their own sizes, (c, h, w) bytes, and their names; None for what is no picture."""
    from isthmus.data import files
    from isthmus.data.files.writing import PICTURES

    if data.is_dir() and data.suffix.lower() != ".zarr":
        from isthmus.data.files.binary import looks_like_zarr
        from isthmus.data.files.pictures import pictures_in

        if looks_like_zarr(data):
            return None, None
        paths = pictures_in(data)
        return [files.read(path).pixels[0] for path in paths], [path.relative_to(data).as_posix() for path in paths]
    if data.suffix.lower() in PICTURES and data.exists():
        return [files.read(data).pixels[0]], [data.name]
    return None, None


def _choose(X: list[Any] | None) -> str:
    """Return the regime for pictures, or None for anything else, of which nothing clean is at hand."""
    if X is None:
        return "noisy"
    return "single" if len(X) < _FEW or min(min(x.shape[1:]) for x in X) >= _SMALL else "noisy"


def _fitted(settings: dict[str, Any], data: Path, X: list[Any] | None, reading: Reading) -> Denoiser:
    from isthmus import Denoiser

    X = _pictures(data)[0] if X is None else X
    if X is None:
        rows, reading = read_training(data, reading)
        denoiser = Denoiser(**settings).fit(rows)
        denoiser.reading_ = reading.to_json()  # pyright: ignore[reportAttributeAccessIssue] - it travels with the model
        return denoiser
    return Denoiser(**settings).fit(X)


def _loaded(model: Path) -> Denoiser:
    from isthmus import Denoiser, load

    loaded = load(model)
    if not isinstance(loaded, Denoiser):
        raise SettingError(f"{str(model)!r} is a saved {type(loaded).__name__}; give a denoiser, or none.")
    return loaded


def _named(restored: Any, denoiser: Denoiser) -> Any:
    """Return a series under the names of its columns, where its file had any."""
    if denoiser.codec_.kind != "series":
        return restored
    import numpy as np
    import pyarrow as pa

    reading = Reading.of(denoiser)  # pyright: ignore[reportArgumentType] - it was read as an autoencoder's data are
    values = restored if np.ndim(restored) == 2 else restored[:, None]
    names = [name for name in reading.columns or reading.names if name not in reading.drop]
    if len(names) != values.shape[1]:
        return values
    return pa.table(dict(zip(names, (pa.array(column) for column in values.T), strict=True)))


def _write(pictures: list[Any], names: list[str], out: Path) -> None:
    """Write each picture at its own size: to a file, or into a folder under its name as PNG."""
    from isthmus.data import Images, files
    from isthmus.data.files.writing import PICTURES

    if out.suffix.lower() in PICTURES:
        if len(pictures) != 1:
            raise DataError(f"one picture file cannot hold {len(pictures)} pictures; give -o the name of a folder.")
        files.write(Images(pictures[0][None], names), out)
        return
    files.check_writable(out, "images")
    for pixels, name in zip(pictures, names, strict=True):
        place = (out / name).with_suffix(".png")
        place.parent.mkdir(parents=True, exist_ok=True)
        files.write(Images(pixels[None], [name]), place)
