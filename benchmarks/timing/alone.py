"""A measurement in a process of its own, for what a process can have only one of: its threads, its peak of memory.

    python -m timing.alone timing.many:step_of '{"trainer": "isthmus eager"}'

The last line of the output is what the function returned, as JSON; or ``{"skip": reason}``.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from isthmus.errors import IsthmusError
from timing.clock import UnavailableError


def alone(function: str, threads: int = 1, **arguments: Any) -> Any:
    """Call ``module:function(**arguments)`` in a fresh process with so many threads, and return what it returns."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if threads > 1:
        environment.pop("XLA_FLAGS", None)
    command = [sys.executable, "-W", "ignore", "-m", "timing.alone", function, json.dumps(arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{function} {arguments} failed in a process of its own:\n{done.stderr[-2000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    if isinstance(answer, dict) and "skip" in answer:
        raise UnavailableError(answer["skip"])
    return answer


def main() -> None:
    """Call what the command line names."""
    module, name = sys.argv[1].split(":")
    try:
        answer = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    except (UnavailableError, ImportError, IsthmusError) as reason:
        answer = {"skip": str(reason)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
