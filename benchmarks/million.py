"""A million rows of 30 columns: CPU time and peak memory of fitting a detector and scoring the same rows. Needs Linux's /proc.

    python benchmarks/million.py [--detectors isthmus,IForest,AE] [--rows 1000000] [--repeats 1] [--again isthmus]

Each runs in a process of its own on one thread, after a fit of a hundred rows: imports and compilers are not counted. "peak"
is the most memory the process held from then on, "above" how much more that is than it held before the fit, when the
libraries and the rows were there (float32, 120 MB a million). The rows are ten factors and noise. Of one in a hundred the
columns come from different rows ("broken": right one by one, wrong together), one in a hundred is multiplied by 2.5 ("far"):
the AUROC of each against the rest says that what was timed also learned. Nothing is extrapolated: the table says how many
rows there were.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rivals
from rivals import Ledger

COLUMNS, FACTORS, CHUNK = 30, 10, 50_000


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows, float32 (n, 30), and their kinds (n,): 0 normal, 1 broken, 2 far; made in chunks, to hold little."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(FACTORS, COLUMNS)).astype(np.float32)
    X, kind = np.empty((n, COLUMNS), np.float32), rng.choice(3, n, p=[0.98, 0.01, 0.01])
    for start in range(0, n, CHUNK):
        part, odd = X[start : start + CHUNK], kind[start : start + CHUNK]
        part[:] = rng.standard_normal((len(part), FACTORS), np.float32) @ mixing
        part += 0.3 * rng.standard_normal(part.shape, np.float32)
        part[odd == 1] = rng.permuted(part[odd == 1], axis=0)
        part[odd == 2] *= 2.5
    return X, kind


def held(field: str) -> float:
    """Return the memory of this process in MB: VmRSS is what it holds now, VmHWM the most it held since ``forget_peak``."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1e3


def forget_peak() -> None:
    """Let VmHWM begin again at what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def inside(spec: str, n: int, seed: int) -> dict[str, Any]:
    """Measure one detector in this process."""
    import torch
    from sklearn.metrics import roc_auc_score

    torch.set_num_threads(1)
    (rival,) = rivals.rivals(spec)
    rivals.warm_up(rival)
    X, kind = rows(n, seed)
    forget_peak()
    before, wall, started = held("VmRSS"), time.perf_counter(), time.process_time()
    detector = rival.make(COLUMNS, seed)
    detector.fit(X)
    fitted = time.process_time()
    scores = np.nan_to_num(rivals.oddness(detector, X))
    line = {
        "fit": round(fitted - started, 2),
        "score": round(time.process_time() - fitted, 2),
        "wall": round(time.perf_counter() - wall, 2),
        "peak": round(held("VmHWM")),
        "above": round(held("VmHWM") - before),
    }
    for name, code in (("broken", 1), ("far", 2)):
        part = (kind == 0) | (kind == code)
        line[name] = round(float(roc_auc_score(kind[part] == code, scores[part])), 4)
    return line


def outside(spec: str, n: int, seed: int) -> dict[str, Any]:
    """Measure one detector in a process of its own."""
    command = [sys.executable, __file__, "--detectors", spec, "--rows", str(n), "--inside", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{spec} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Compute what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", default="isthmus,IForest,AE")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=1, help="each with a seed of its own")
    parser.add_argument("--again", default="", help="comma list of detectors whose lines are forgotten")
    parser.add_argument("--out", type=Path, default=Path("million.jsonl"))
    parser.add_argument("--inside", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        print(json.dumps(inside(options.detectors, options.rows, options.inside)))
        return
    ledger = Ledger(options.out, ("detector", "rows", "seed"), options.again)
    for seed in range(options.repeats):
        for spec in rivals.split(options.detectors):
            compute = partial(outside, spec, options.rows, seed)
            ledger.once(compute, detector=rivals.rivals(spec)[0].label, rows=options.rows, seed=seed)
    keys = ["fit", "score", "wall", "peak", "above", "broken", "far"]
    print("| detector | rows | fit CPU s | score CPU s | wall s | peak MB | above MB | AUROC broken | AUROC far |")
    print("|---" * (len(keys) + 2) + "|")
    for label, n in dict.fromkeys((line["detector"], line["rows"]) for line in ledger.lines):
        mine = [line for line in ledger.lines if (line["detector"], line["rows"]) == (label, n)]
        print(
            f"| {label} | {n:,} | " + " | ".join(f"{np.median([line[key] for line in mine]):g}" for key in keys) + " |"
        )


if __name__ == "__main__":
    main()
