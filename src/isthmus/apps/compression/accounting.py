"""What a file costs, part by part, and whether its model has paid for itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from isthmus.apps.compression.engines.engine import LEARNED
from isthmus.apps.compression.forms import Distance
from isthmus.apps.section import Section, Table
from isthmus.apps.words import percent, plain


@dataclass
class Account:
    """Bytes of a file by what they are for."""

    header: int = 0
    schema: int = 0
    model: int = 0
    """Of the models in the file."""
    model_not_embedded: int = 0
    """Of models that the file names by their hash, and whoever reads it must have."""
    index: int = 0
    payload: int = 0
    escapes: int = 0
    """Of values that are kept exactly: NaN, infinities, what else no grid holds; with signs."""
    texts: int = 0
    """Of cells and names that are texts."""
    frames: int = 0
    """Of the heads of chunks and their checksums."""
    raw: int = 0
    """What the values take in memory."""
    rows: int = 0
    engines: dict[str, int] = field(default_factory=dict)
    """How many chunks each engine coded."""
    floor: int = 0
    """What the chunks would take by the best classical engine each; 0 for codes alone, which none of them makes."""
    distance: Distance | None = None
    """How far the decoded values lie from the originals; None where nothing is lost."""

    def add(self, lot: Any, bid: Any, packed: bytes, chunk: Any) -> None:
        """Book a chunk."""
        if bid.distance is not None:
            self.distance = (self.distance or Distance()) + bid.distance
        kept_at, kept, signs, side = map(len, chunk.extras)
        self.payload += len(chunk.payload)
        self.escapes += kept_at + kept + signs
        self.texts += side
        self.frames += 40 + len(packed) - len(chunk.payload) - sum(map(len, chunk.extras))
        self.raw += lot.raw
        self.engines[bid.engine] = self.engines.get(bid.engine, 0) + 1
        if lot.bids[-1].engine not in LEARNED:
            self.floor += 40 + lot.bids[-1].size

    @property
    def total(self) -> int:
        """The size of the file."""
        parts = (self.header, self.schema, self.model, self.index, self.payload, self.escapes, self.texts, self.frames)
        return sum(parts)

    @property
    def ratio(self) -> float:
        """How many times smaller the file is than its values."""
        return self.raw / self.total if self.total else math.nan

    @property
    def break_even(self) -> int | None:
        """From how many rows on a file with this model is smaller than one of the classical engines; None where never."""
        saved = self.floor - self.payload - self.escapes - self.texts - self.frames
        carried = self.model + self.model_not_embedded
        if not carried:
            return None
        return math.ceil(carried * self.rows / saved) if saved > 0 else None

    def verdict(self) -> str:
        """Say in a sentence what the learned engines were worth."""
        learned = self.model + self.model_not_embedded
        if not learned:
            return "No learned model pays for itself here; the file is as small as a classical codec makes it."
        if not self.floor:
            return "These are codes alone, for which there is no classical engine to compare with."
        gain = 1 - (self.total - self.header - self.schema - self.index) / self.floor
        rows = f"; its model has paid for itself from {self.break_even:,} rows on" if self.break_even else ""
        return f"With its model, the file is {percent(gain)} smaller than the classical engines would make it{rows}."

    def loss(self) -> str:
        """Say in a sentence what was lost."""
        if self.distance is None:
            return "Nothing is lost."
        d = self.distance
        return f"The largest error is {d.largest:.4g}, the root mean square {d.rms:.4g}, the PSNR {d.psnr:.2f} dB."

    def to_dict(self) -> dict[str, Any]:
        """Return the account as plain data."""
        more = {"total": self.total, "ratio": self.ratio, "break_even": self.break_even, "verdict": self.verdict()}
        lost = self.distance
        more["distance"] = None if lost is None else {"largest": lost.largest, "rms": lost.rms, "psnr": lost.psnr}
        return plain(vars(self) | more)

    def section(self) -> Section:
        """Return what the report shows."""
        names = ("header", "schema", "model", "index", "payload", "escapes", "texts", "frames")
        rows = [(name, getattr(self, name)) for name in names] + [("total", self.total), ("raw", self.raw)]
        return Section(
            "Compression",
            (self.verdict(), self.loss()),
            (Table("Bytes of the file", ("part", "bytes"), rows),),
            facts=self.to_dict(),
        )
