"""Files are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from isthmus.errors import DataError


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Give a temporary name beside ``target``: renamed when the block ends well, gone without a trace when it does not.

    >>> with written_whole(Path("codes.csv")) as temporary:  # doctest: +SKIP
    ...     temporary.write_text("1,2,3")
    """
    temporary = target.with_name(f".{uuid4().hex}{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"{str(target)!r} could not be written: {reason}; nothing there was changed, choose another path or make room."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
