"""Logs as one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings


class JsonLines(logging.Formatter):
    """Writes every record as one JSON object: time, level, and what was said."""

    def format(self, record: logging.LogRecord) -> str:
        said = record.msg if isinstance(record.msg, dict) else {"event": "message", "text": record.getMessage()}
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line = {"time": moment, "level": record.levelname.lower(), **said}
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to_stderr(level: str = "info") -> None:
    """Send the records of the service, of the server beneath it, and warnings to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("isthmus.web", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
    warnings.showwarning = _log_warning


def _log_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    logging.getLogger("isthmus.web").warning({"event": "warning", "text": str(message), "category": category.__name__})
