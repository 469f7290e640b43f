"""Recording what a CUDA device is asked to do, to ask it again in one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


class Capture:
    """Recordings of one device. They share their memory, for they are played one after the other and leave nothing in it."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream, self.pool = device, torch.cuda.Stream(device), torch.cuda.graph_pool_handle()

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Run on the stream of the recordings, where to wait for the device is a RuntimeError, as it must not happen in one."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(), self._aside():
            warnings.filterwarnings("ignore", "Synchronization debug mode")  # that it does not see every wait
            torch.cuda.set_sync_debug_mode("error")
            try:
                yield
            finally:
                torch.cuda.set_sync_debug_mode(before)

    def record(self, work: Callable[[], None], rng: torch.Generator) -> Callable[[], None]:
        """Return what repeats the kernels that ``work`` launches, none of which runs now; ``rng`` goes on each time."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(rng)
        # torch.cuda.graph leaves its stream current when a recording fails, and _aside puts that right. Other threads may
        # copy blocks meanwhile, hence "thread_local".
        with (
            self._aside(),
            torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"),
        ):
            work()
        return graph.replay

    @contextmanager
    def _aside(self) -> Iterator[None]:
        usual = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(usual)
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            usual.wait_stream(self.stream)
