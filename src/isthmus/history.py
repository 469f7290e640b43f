"""What happened during training, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """One record an epoch, and what ended the training.

    A record is ``{"epoch", "learning_rate", "seconds", "train": {"loss", "reconstruction", ..}, "held_out": {..} | None}``;
    losses are means over samples. Iterating yields the records.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    """The epoch whose weights were kept; 0 are the weights training started from."""
    stopped: str = "finished"
    """"finished", "early" (no better on held-out rows), "callback" or "interrupted"."""
    events: list[str] = field(default_factory=list)
    """What a reader should know, a sentence each: a restart at a lower rate, an interruption."""
    engine: str = "eager"
    """What computed the steps."""
    engine_note: str = ""
    """Why it was not a faster one; "" when there is none."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.epochs)

    def __len__(self) -> int:
        return len(self.epochs)

    def curve(self, rows: str = "train", term: str = "loss") -> list[float]:
        """Return one term over the epochs: ``rows`` is "train" or "held_out"."""
        return [epoch[rows][term] for epoch in self.epochs if epoch[rows] is not None]

    def to_json(self) -> dict[str, Any]:
        return {
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "events": self.events,
            "engine": self.engine,
            "engine_note": self.engine_note,
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> History:
        return cls(**state)
