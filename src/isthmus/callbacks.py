"""Callbacks that come with the house: a progress bar, and a checkpoint to resume from."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from isthmus.atomic import written_whole
from isthmus.errors import ModelFileError, SettingError
from isthmus.history import History
from isthmus.training import MOMENTS, Run

if TYPE_CHECKING:
    from rich.progress import Progress

_FORMAT = 1


def listeners(callbacks: Any, verbose: Any) -> list[Any]:
    """Return the callbacks of a fit from the settings of an estimator: one or several, and a bar where it would be seen."""
    if verbose not in (True, False, "auto"):
        raise SettingError(f"verbose={verbose!r} must be True, False or 'auto'.")
    own = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    for callback in own:
        if not any(hasattr(callback, moment) for moment in MOMENTS):
            raise SettingError(f"The callback {callback!r} has none of the methods {', '.join(MOMENTS)}; give it one.")
    return [*own, ProgressBar()] if verbose and sys.stderr.isatty() else [*own]


class ProgressBar:
    """Show epochs, loss and time left on standard error."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: Any = None

    def on_train_begin(self, run: Run) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("training"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=run.plan.epochs, completed=run.epoch, loss="")
        self._bar.start()

    def on_epoch_end(self, run: Run) -> None:
        if self._bar is not None:
            last = run.history.epochs[-1]
            rows, terms = ("held-out", last["held_out"]) if last["held_out"] else ("training", last["train"])
            self._bar.update(self._task, completed=run.epoch, loss=f"{rows} loss {terms['loss']:.4g}")

    def on_train_end(self, run: Run) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class Checkpoint:
    """Save the whole state of a training to a folder after every epoch, and take it up again from there.

    A fit with the same data and settings, given the same folder, goes on where the last one stopped, bit for bit as if
    nothing had happened. A checkpoint of other data or settings is refused. Files: ``checkpoint.safetensors``, which also
    holds the JSON of the history.

    >>> Autoencoder(callbacks=[Checkpoint("run")]).fit(X)  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path, every: int = 1) -> None:
        self.folder, self.every = folder, every

    @property
    def file(self) -> Path:
        return Path(self.folder) / "checkpoint.safetensors"

    def on_train_begin(self, run: Run) -> None:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelFileError(
                f"No checkpoint can be kept in {self.folder}: {error.strerror}; name another."
            ) from error
        if not self.file.exists():
            return
        try:
            tensors = load_file(self.file)
            state = json.loads(bytes(tensors.pop("state").tolist()))
        except (SafetensorError, KeyError, ValueError) as error:
            raise ModelFileError(
                f"The checkpoint {self.file} cannot be read ({error}); delete it to train from the start."
            ) from error
        if state["format"] != _FORMAT or state["settings_key"] != run.settings_key:
            raise ModelFileError(
                f"The checkpoint {self.file} belongs to other data or settings (without random_state no two fits are alike); "
                f"give another folder, or delete it to train from the start."
            )
        self._restore(run, state, tensors)

    def on_epoch_end(self, run: Run) -> None:
        if run.epoch % self.every == 0 or run.epoch == run.plan.epochs:
            self._save(run)

    def _save(self, run: Run) -> None:
        state = {
            "format": _FORMAT,
            "settings_key": run.settings_key,
            "epoch": run.epoch,
            "rate_factor": run.rate_factor,
            "restarts": run.restarts,
            "best_loss": run.best_loss,
            "cap": run.cap,
            "history": run.history.to_json(),
        }
        tensors = {f"model.{name}": value for name, value in run.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in run.best.items()}
        tensors |= {f"adam.{name}": value for name, value in run.optimizer.state().items()}
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        tensors["state"] = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
        with written_whole(self.file) as temporary:
            try:
                save_file(tensors, temporary)
            except SafetensorError as error:
                raise OSError(str(error)) from error

    def _restore(self, run: Run, state: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        def named(prefix: str) -> dict[str, torch.Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        run.model.load_state_dict(named("model."))
        run.optimizer.restore(named("adam."))
        device = next(run.model.parameters()).device
        run.best = {name: value.to(device) for name, value in named("best.").items()}
        run.epoch, run.best_loss, run.cap = state["epoch"], state["best_loss"], state["cap"]
        run.rate_factor, run.restarts = state["rate_factor"], state["restarts"]
        # The caller holds this history object; it is filled, not replaced.
        saved = History.from_json(state["history"])
        run.history.epochs[:] = saved.epochs
        run.history.best_epoch, run.history.stopped = saved.best_epoch, "finished"
        run.history.events[:] = saved.events
