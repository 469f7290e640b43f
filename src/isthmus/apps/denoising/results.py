"""What denoising gave: the restored data, how strong the noise was, and how far the answer can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.apps.section import Section, Table
from isthmus.apps.words import plain

SAID = {
    "input": "Nothing that was learned was better than leaving noisy rows as they are, so they are left as they are",
    "linear": "The linear answer is used; a network on top of it did no better",
    "network": "A network on top of the linear answer is used",
    "patches": "Each picture was restored from its own patches",
}


@dataclass(frozen=True, eq=False)
class Denoising:
    """Restored data, and what is known about them."""

    restored: Any
    """As the noisy data came: the same type, sizes and units."""
    sigma: np.ndarray | None
    """(n,) the standard deviation of the noise of each picture or row, as it was estimated or given; None for noise that
    is not Gaussian."""
    answer: str
    """ "patches", or what was best on held-out rows: "network", "linear", or "input", which is no denoising."""
    errors: dict[str, float]
    """Root mean squared errors on held-out rows, of the noisy "input", the "linear" answer and the "network"."""
    psnr: tuple[float, float] | None = None
    """Peak signal-to-noise ratio before and after in decibels, the mean over the pictures; None where no clean ones were
    given."""
    rmse: tuple[float, float] | None = None
    """Root mean squared error before and after, in units of the encoded rows; None where no clean ones were given."""

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain data, without what was restored."""
        sigma = None if self.sigma is None else float(np.median(self.sigma))
        facts = {"sigma": sigma, "answer": self.answer, "errors": self.errors, "psnr": self.psnr, "rmse": self.rmse}
        return plain(facts)

    def sentences(self) -> tuple[str, ...]:
        """Say how strong the noise was, what answered, and what it gained."""
        told = []
        if self.sigma is not None:
            told.append(f"The noise has a standard deviation of {float(np.median(self.sigma)):.3g}.")
        gained = ""
        if self.errors and self.answer != "input":
            before, after = self.errors["input"], self.errors[self.answer]
            said = f"of {after:.3g}" if after > 0.01 * before else "too small to be measured"
            gained = f": an error {said} on held-out rows, where noisy rows have {before:.3g}"
        told.append(SAID[self.answer] + gained + ".")
        if self.psnr is not None:
            told.append(f"Beside the clean pictures: {self.psnr[0]:.1f} dB before, {self.psnr[1]:.1f} dB after.")
        elif self.rmse is not None:
            told.append(f"Beside the clean rows: an error of {self.rmse[0]:.3g} before, {self.rmse[1]:.3g} after.")
        return tuple(told)

    def section(self) -> Section:
        """Return what the report shows."""
        rows = [(name, error) for name, error in self.errors.items()]
        caption = "Root mean squared errors on held-out rows, in units of the encoded samples."
        tables = (Table(caption, ("answer", "error"), rows),) if rows else ()
        return Section("Denoising", self.sentences(), tables, facts=self.to_dict())
