"""`isthmus fit` and `isthmus demo`: data in, a model folder and a report out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from isthmus.cli.exits import Exit
from isthmus.cli.options import (
    BatchSize,
    Bottleneck,
    Checkpoint,
    Columns,
    Condition,
    Config,
    Data,
    Device,
    Drop,
    EarlyStopping,
    Effort,
    Folder,
    Gaps,
    Header,
    Json,
    LatentDim,
    LearningRate,
    MaxEpochs,
    Network,
    NoReport,
    Options,
    RandomState,
    Reconstruction,
    Scale,
    Shortcut,
    Step,
    ValidationFraction,
    Variant,
    WeightDecay,
    Window,
)
from isthmus.cli.printing import blank, command, print_facts, print_json, print_notes, print_scores, print_text
from isthmus.cli.reading import read_training
from isthmus.cli.settings import build, choose
from isthmus.errors import ModelFileError

if TYPE_CHECKING:
    from isthmus.apps.report import Report
    from isthmus.estimator import Autoencoder


def fit(  # the parameters are the flags: typer reads them off this signature
    data: Data,
    out: Folder,
    config: Config = None,
    no_report: NoReport = False,
    json: Json = False,
    gaps: Gaps = None,
    header: Header = None,
    columns: Columns = None,
    drop: Drop = None,
    window: Window = None,
    step: Step = None,
    variant: Variant = None,
    option: Options = None,
    latent_dim: LatentDim = None,
    network: Network = None,
    bottleneck: Bottleneck = None,
    reconstruction: Reconstruction = None,
    condition: Condition = None,
    scale: Scale = None,
    shortcut: Shortcut = None,
    effort: Effort = None,
    max_epochs: MaxEpochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    early_stopping: EarlyStopping = None,
    validation_fraction: ValidationFraction = None,
    weight_decay: WeightDecay = None,
    random_state: RandomState = None,
    device: Device = None,
    checkpoint: Checkpoint = None,
) -> None:
    """Train on DATA; write a model folder and a report."""
    flags = {name: value for name, value in locals().items() if name not in _NOT_SETTINGS}
    choices = choose(config, flags, option or [])
    refuse_other_folders(out)
    X, reading = read_training(data, choices.reading)
    ae = build(choices)
    started = time.perf_counter()
    ae.fit(X)
    seconds = time.perf_counter() - started
    ae.reading_ = reading.to_json()  # it travels with the saved model
    found = _keep(ae, out, X, None, not no_report)
    if json:
        print_json(_facts(ae, out, found, X, seconds))
    else:
        print_text(f"{data.name}: {_size(ae, X)}", "bold")
        _print_fit(ae, out, found, seconds)
        print_facts(_places(out, found) | {"next": command("encode", data, "-m", out, "-o", "codes.csv")})
    if ae.history_.stopped == "interrupted":
        raise typer.Exit(Exit.INTERRUPTED)


_NOT_SETTINGS = ("data", "out", "config", "no_report", "json", "option")


def demo(
    out: Folder = Path("isthmus-demo"),
    json: Json = False,
) -> None:
    """Train on scikit-learn's handwritten digits; write a report."""
    refuse_other_folders(out)
    import numpy as np
    from sklearn.datasets import load_digits

    from isthmus.estimator import Autoencoder

    digits, y = load_digits(return_X_y=True)
    X = np.rint(np.reshape(digits, (-1, 8, 8)) * (255 / 16)).astype(np.uint8)
    started = time.perf_counter()
    ae = Autoencoder(latent_dim=8, random_state=0).fit(X)
    seconds = time.perf_counter() - started
    found = _keep(ae, out, X, y, True)
    np.save(out / "digits.npy", X, allow_pickle=False)
    if json:
        print_json(_facts(ae, out, found, X, seconds))
        return
    print_text(f"handwritten digits: {_size(ae, X)}", "bold")
    _print_fit(ae, out, found, seconds)
    print_facts(
        _places(out, found)
        | {
            "next": command("encode", out / "digits.npy", "-m", out, "-o", "codes.csv"),
            "then": command("fit", "YOUR-DATA.csv", "-o", "my-model"),
        }
    )


def refuse_other_folders(out: Path) -> None:
    """Refuse to write over anything but a model, before any work is done."""
    if (out / "config.json").is_file() or not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    raise ModelFileError(f"{out} exists and is not an Isthmus model; give another path, or remove it first.")


def _keep(ae: Autoencoder, out: Path, X: Any, y: Any, with_report: bool) -> Report | None:
    """Save the model and, beside it, its report."""
    ae.save(str(out))
    if not with_report:
        return None
    from isthmus.apps.report import report

    found = report(ae, X, y)
    found.save(out / "report.html")
    return found


def _print_fit(ae: Autoencoder, out: Path, found: Report | None, seconds: float) -> None:
    from isthmus.apps.displays import rivals

    print_notes(ae.codec_.notes)
    history = ae.history_
    ended = {"early": ", stopped early", "interrupted": ", interrupted", "callback": ", stopped"}.get(
        history.stopped, ""
    )
    print_text(
        f"{len(history)} epochs in {seconds:.1f} s{ended}; a code of {ae.code_size_} number{'' if ae.code_size_ == 1 else 's'}."
    )
    blank()
    print_scores(ae.scores_, rivals(ae.code_size_))
    blank()
    for finding in found.health if found is not None else ():
        if finding.verdict == "warning" or finding.name == "Network":
            print_text(f"{finding.sentence} {finding.advice if finding.verdict == 'warning' else ''}".strip())
    if found is not None:
        blank()


def _places(out: Path, found: Report | None) -> dict[str, str]:
    """Say where things are."""
    return {"model": str(out)} | ({} if found is None else {"report": f"{out / 'report.html'} (open it in a browser)"})


def _facts(ae: Autoencoder, out: Path, found: Report | None, X: Any, seconds: float) -> dict[str, Any]:
    from isthmus.apps.words import plain

    return plain(
        {
            "model": str(out),
            "report": None if found is None else str(out / "report.html"),
            "rows": len(X),
            "kind": ae.codec_.kind,
            "columns": ae.codec_.feature_names,
            "notes": ae.codec_.notes,
            "latent_dim": ae.latent_dim_,
            "scores": ae.scores_,
            "epochs": len(ae.history_),
            "best_epoch": ae.history_.best_epoch,
            "stopped": ae.history_.stopped,
            "seconds": seconds,
            "settings": ae.settings_,
            "summary": None if found is None else found.summary,
        }
    )


def _size(ae: Autoencoder, X: Any) -> str:
    codec = ae.codec_
    if codec.kind == "images":
        channels, height, width = codec.layout.shape
        return f"{len(X):,} images of {height} × {width} pixels{f', {channels} channels' if channels > 1 else ''}"
    if codec.kind == "volumes":
        return f"{len(X):,} volumes of {' × '.join(map(str, codec.layout.shape))} numbers"
    if codec.kind == "series":
        return f"{len(X):,} windows of {codec.layout.shape[0]} points × {codec.layout.shape[1]} channels"
    columns = len(codec.feature_names or []) or codec.layout.size
    return f"{len(X):,} rows × {columns} columns"
