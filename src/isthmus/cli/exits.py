"""Exit codes: what went wrong, for scripts; and the sentence that says it, for people."""

from __future__ import annotations

import traceback
from enum import IntEnum

from isthmus.errors import DataError, IsthmusError, ModelFileError, SettingError, TrainingError


class Exit(IntEnum):
    """How a command may end."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    DATA = 3
    MODEL = 4
    TRAINING = 5
    SETTING = 6
    INTERRUPTED = 130


DESCRIBED = (
    "Exit codes: 0 ok, 1 unexpected, 2 usage, 3 data or files, 4 model folder, 5 training failed, 6 setting, "
    "130 interrupted (what was trained so far is saved)."
)

_CODES: dict[type[IsthmusError], Exit] = {
    DataError: Exit.DATA,
    ModelFileError: Exit.MODEL,
    TrainingError: Exit.TRAINING,
    SettingError: Exit.SETTING,
}


def explain(error: Exception) -> tuple[Exit, str]:
    """Return the exit code of an error, and one sentence for the user."""
    if isinstance(error, IsthmusError):
        code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), Exit.UNEXPECTED)
        return code, _one_line(error)
    if isinstance(error, OSError):
        path = f" {str(error.filename)!r}" if error.filename else ""
        reason = error.strerror or type(error).__name__
        return Exit.DATA, f"the file or folder{path} could not be used: {reason}; choose another path or make room."
    if isinstance(error, MemoryError):
        return Exit.DATA, "the memory of this machine does not suffice; use fewer rows or columns."
    if isinstance(error, ValueError) and _raised_by_sklearn(error):
        return Exit.DATA, f"the data was refused: {_one_line(error)}"
    return Exit.UNEXPECTED, (
        f"something unexpected went wrong ({type(error).__name__}: {_one_line(error)}); "
        "run it again with --debug to see where."
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _raised_by_sklearn(error: Exception) -> bool:
    """scikit-learn's checks of arrays raise plain ValueErrors about the data."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").startswith("sklearn.")
