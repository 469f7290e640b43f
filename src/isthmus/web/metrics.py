"""What the service counts, in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

Labels = tuple[tuple[str, str], ...]


class Histogram:
    """How often a value fell into each bucket, by labels."""

    def __init__(self, name: str, explained: str, buckets: tuple[float, ...]) -> None:
        self.name, self.explained, self.buckets = name, explained, buckets
        self._counts: dict[Labels, list[int]] = defaultdict(lambda: [0] * (len(buckets) + 1))
        self._sums: dict[Labels, float] = defaultdict(float)

    def observe(self, value: float, labels: Labels) -> None:
        self._counts[labels][bisect_left(self.buckets, value)] += 1
        self._sums[labels] += value

    def lines(self) -> Iterator[str]:
        yield from _head(self.name, self.explained, "histogram")
        for labels, counts in list(self._counts.items()):
            total = 0
            for bound, count in zip((*self.buckets, "+Inf"), counts, strict=True):
                total += count
                yield f"{self.name}_bucket{_written((*labels, ('le', str(bound))))} {total}"
            yield f"{self.name}_sum{_written(labels)} {self._sums[labels]:.9g}"
            yield f"{self.name}_count{_written(labels)} {total}"


class Metrics:
    """Everything that ``/metrics`` shows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests: dict[Labels, int] = defaultdict(int)
        self.seconds = Histogram(
            "isthmus_request_seconds", "From the head of a request to the end of its answer.", SECONDS
        )
        self.batches = Histogram("isthmus_batch_rows", "Rows that were computed together.", ROWS)
        self.computing = Histogram("isthmus_compute_seconds", "What the library took for a batch.", SECONDS)
        self.in_flight = 0
        self.started = time.time()

    def answered(self, model: str, verb: str, status: int, seconds: float) -> None:
        """Count a request that has been answered."""
        place = (("model", model), ("verb", verb))
        with self._lock:
            self.requests[(*place, ("status", str(status)))] += 1
            self.seconds.observe(seconds, place)

    def computed(self, model: str, verb: str, rows: int, seconds: float) -> None:
        """Count a batch."""
        place = (("model", model), ("verb", verb))
        with self._lock:
            self.batches.observe(rows, place)
            self.computing.observe(seconds, place)

    def text(self) -> str:
        """Return all of it as Prometheus reads it."""
        with self._lock:
            lines = [*_head("isthmus_requests_total", "Requests answered.", "counter")]
            lines += [f"isthmus_requests_total{_written(labels)} {n}" for labels, n in self.requests.items()]
            for histogram in (self.seconds, self.batches, self.computing):
                lines += histogram.lines()
        gauges = (
            ("isthmus_requests_in_flight", "Requests being answered.", self.in_flight),
            ("process_start_time_seconds", "When the service started.", f"{self.started:.3f}"),
            ("process_resident_memory_bytes", "Memory of the process.", resident()),
        )
        for name, explained, value in gauges:
            lines += [*_head(name, explained, "gauge"), f"{name} {value}"]
        lines += [*_head("process_cpu_seconds_total", "Seconds of the processor.", "counter")]
        lines += [f"process_cpu_seconds_total {time.process_time():.3f}"]
        return "\n".join(lines) + "\n"


def resident() -> int:
    """Return the bytes of memory of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _head(name: str, explained: str, kind: str) -> list[str]:
    return [f"# HELP {name} {explained}", f"# TYPE {name} {kind}"]


def _written(labels: Labels) -> str:
    escaped = ((name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels)
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
