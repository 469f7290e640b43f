"""Speed beside other libraries: every peer and every engine interleaved in one run, CPU time, medians of five rounds.

    python benchmarks/speed.py [--case table,wide,..] [--rounds 5] [--quick] [--json results.json]

Cases: table (30-64-16, batches of 128) and wide (784-256-64, batches of 256): a training step; conv: the same for images;
door: what ``Autoencoder().fit`` adds to its bare steps; encode: rows encoded a second, beside onnxruntime; many: eight members
at once, and two threads; quality: time to the tutorial loop's final held-out error; startup: a fresh process; memory: the peak
of a fit. Everybody gets the same rows, topology, batches, epochs and Adam at 1e-3; ratios are to the loop of the PyTorch
tutorials, round by round. Whatever is not installed, or not in this version, is skipped with its reason.

The clock is the CPU time of the process, all its threads together, because machines are shared; only ``many`` and ``startup``
look at the wall as well. One thread, unless OMP_NUM_THREADS says otherwise. All peers live in one environment:

    python -m venv speedv
    speedv/bin/pip install -c constraints.txt torch scipy narwhals pyarrow safetensors typer rich pillow pyyaml jinja2 \\
        matplotlib scikit-learn numba pyod pythae keras jax onnxruntime onnx
    PYTHONPATH=src speedv/bin/python benchmarks/speed.py
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

from timing import door, encode, fresh, machine, many, quality, training

CASES = {
    "table": training.table,
    "wide": training.wide,
    "conv": training.conv,
    "door": door.door,
    "encode": encode.encode,
    "many": many.many,
    "quality": quality.quality,
    "startup": fresh.startup,
    "memory": fresh.memory,
}


def main() -> None:
    """Run the cases, print their tables, and say on what machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default=",".join(CASES), help="which, separated by commas; all by default")
    parser.add_argument("--rounds", type=int, help="5 by default, 3 with --quick")
    parser.add_argument("--quick", action="store_true", help="smaller sizes: does it work?")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    options = parser.parse_args()
    names = options.case.split(",")
    if unknown := sorted(set(names) - set(CASES)):
        parser.error(f"--case {','.join(unknown)} is not known; choose from {', '.join(CASES)}")
    rounds, reports, facts = options.rounds or (3 if options.quick else 5), [], machine.facts()
    warnings.simplefilter("ignore")
    for name in names:
        begun = time.perf_counter()
        for report in CASES[name](options.quick, rounds):
            report.show()
            reports.append(report.to_json())
        seconds = time.perf_counter() - begun
        print(f"  on {facts['processor']}; threads: {facts['threads']}; case took {seconds:.0f} s", flush=True)
        if options.json:
            found = {"machine": facts, "quick": options.quick, "rounds": rounds, "reports": reports}
            options.json.write_text(json.dumps(found, indent=1))
    print("\n" + "\n".join(f"{name:10}{fact}" for name, fact in facts.items()))


if __name__ == "__main__":
    main()
