"""How good samples are: how far from real rows, how much of them they cover, whose fault the rest is, and who copied."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus.apps.generation.measures import classifier, coverage, frechet, nearer_share, spread
from isthmus.apps.section import Section, Table
from isthmus.apps.words import percent, plain
from isthmus.data.fingerprint import fingerprint
from isthmus.data.rows import Rows
from isthmus.errors import DataError, SettingError
from isthmus.inference import map_rows
from isthmus.inputs import check_input

if TYPE_CHECKING:
    from isthmus.estimator import Autoencoder

FEWEST = 20
"""Held-out rows below which no figure means anything."""
MOST_NEIGHBOURS = 5000
"""Rows of each side that are compared one by one: coverage and copies."""


@dataclass(frozen=True)
class SampleQuality:
    """What there is to say of samples. Distances are in percent of the total variance of real rows: 0 is as good as real.

    Beside ``frechet``, always read ``copied``: literal copies of training rows have a perfect distance.
    """

    frechet: float
    """Fréchet distance of samples to real rows."""
    real: float
    """That of fresh real rows: what is left of it by chance alone."""
    decoder_gap: float
    """That of reconstructions of fresh real rows: the part that no sampler could mend."""
    prior_gap: float
    """frechet - decoder_gap: the part that a better sampler could."""
    coverage: float
    """Share of real rows that have a sample in their neighbourhood (Naeem 2020, k = 5)."""
    real_coverage: float
    """Share that have a fresh real row there."""
    copied: float
    """Share of samples nearer to a training row than to a held-out one; 0.5 where nothing is copied."""
    copied_error: float
    """Its standard error if nothing is copied: 1 / sqrt(4 n)."""
    n: int
    """How many samples, and how many fresh real rows, were judged."""
    features: Literal["classifier", "encoder"]
    """What distances are taken in: the last hidden layer of a small classifier of your labels, or the model's own codes."""
    space: Literal["data", "codes"]
    """Where copies are looked for: among training rows, or among the codes that the model kept of them."""
    sampler: str

    def to_dict(self) -> dict[str, Any]:
        """Return every figure as plain data."""
        return plain(asdict(self))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the figures mean, and what to do about them."""
        lines = [
            f"Samples are {self.frechet:.1f}% away from real rows (fresh real rows: {self.real:.1f}%); reconstructions alone "
            f"are {self.decoder_gap:.1f}% away, the sampler adds {self.prior_gap:.1f}. {self._advice}",
            f"They cover {percent(self.coverage)} of the real rows; fresh real rows cover {percent(self.real_coverage)}.",
        ]
        excess = self.copied - 0.5
        if excess > 3 * self.copied_error:
            lines.append(
                f"{percent(self.copied)} of the samples are nearer to a training row than to a held-out one: copies."
            )
        else:
            lines.append(
                f"{percent(self.copied)} are nearer to a training row than to a held-out one, where {percent(0.5)} means that "
                f"nothing is copied."
            )
        return tuple(lines)

    @property
    def _advice(self) -> str:
        if self.frechet <= self.real:
            return "As near as fresh real rows: this measure sees nothing to mend."
        if self.decoder_gap - self.real >= self.prior_gap:
            return "The larger part is the decoder's: train longer, or give it a longer code or a larger network."
        others = " or ".join(f"'{name}'" for name in ("mixture", "flow") if name != self.sampler.lower())
        return f"The larger part is the sampler's: try sampler={others}."

    def section(self) -> Section:
        """Return the figures as a section of the report."""
        rows = [
            ("samples", self.frechet, self.coverage, self.copied),
            ("fresh real rows", self.real, self.real_coverage, None),
            ("their reconstructions", self.decoder_gap, None, None),
        ]
        table = Table(f"{self.n:,} rows each", ("", "Fréchet distance, %", "coverage", "nearer to training"), rows)
        return Section("Samples", self.sentences, (table,), facts=self.to_dict())


class _Judged(NamedTuple):
    """Rows as the model sees them."""

    rows: Rows
    told: Tensor | None
    """(n, c) what a conditional model is told of them."""

    @property
    def x(self) -> Tensor:
        """(n, *shape) scaled; gaps are 0."""
        return self.rows.take(slice(None))[0]

    def chosen(self, index: np.ndarray) -> _Judged:
        return _Judged(self.rows.subset(index), None if self.told is None else self.told[torch.from_numpy(index)])


def sample_quality(
    ae: Autoencoder,
    X: Any,
    y: Any = None,
    n: int | None = None,
    train: Any = None,
    random_state: Any = 0,
) -> SampleQuality:
    """Judge ``n`` samples of a fitted autoencoder beside held-out rows.

    Parameters
    ----------
    X : rows that the model has not learned from. Half of them stand for what is real, the other half are the fresh rows
        that show what the figures are by chance. If it is the training data itself, its held-out rows are taken.
    y : labels of those rows (all of X). With them distances are taken in the features of a small classifier, which is
        learned on the spot; without, in the model's own codes, which do not see what the encoder ignores.
    n : how many samples; None draws as many as there are fresh rows. More are not drawn: Fréchet distances of fewer rows
        are larger, and only like can be set beside like.
    train : rows that the model was trained on, to look for copies among; without, their codes are compared.

    >>> print(*ist.sample_quality(ae, X_test, y_test, train=X_train).sentences, sep="\\n")  # doctest: +SKIP
    """
    check_is_fitted(ae)
    if n is not None and (not hasattr(n, "__index__") or n < FEWEST):
        raise SettingError(f"n={n!r} must be a whole number of at least {FEWEST}: fewer samples show nothing.")
    everything, labels, learned = _held_out(ae, X, y, train)
    rng = np.random.default_rng(random_state)
    order = rng.permutation(len(everything.rows))
    if len(order) < 2 * FEWEST:
        raise DataError(f"{len(order)} held-out rows are too few to judge samples by; give at least {2 * FEWEST}.")
    half = len(order) // 2
    known, fresh = everything.chosen(order[:half]), everything.chosen(order[half:][: n or len(order)])
    seed = int(rng.integers(2**31))
    features = partial(_codes, ae) if labels is None else _learned(everything, labels, seed)
    drawn = _Judged(ae.codec_.encode(ae.sample(len(fresh.rows), random_state=seed)), None)
    rebuilt = _rebuilt(ae, fresh)
    real, new, ours = features(known), features(fresh), features(drawn)
    unit, few = max(spread(real), 1e-30) / 100, slice(None, MOST_NEIGHBOURS)
    distance, best = frechet(ours, real) / unit, frechet(features(rebuilt), real) / unit
    copied, space = _copied(ae, drawn, everything, learned, rng)
    return SampleQuality(
        distance,
        frechet(new, real) / unit,
        best,
        distance - best,
        coverage(real[few], ours[few]),
        coverage(real[few], new[few]),
        copied,
        1 / math.sqrt(4 * min(len(ours), MOST_NEIGHBOURS)),
        len(ours),
        "encoder" if labels is None else "classifier",
        space,
        type(ae._sampling.sampler).__name__,
    )


def _held_out(ae: Autoencoder, X: Any, y: Any, train: Any) -> tuple[_Judged, np.ndarray | None, Rows | None]:
    """Return held-out rows, their labels and training rows: where X is what the model was trained on, X is split."""
    given = _judged(ae, X)
    labels = None if y is None else np.asarray(y)
    if labels is not None and len(labels) != len(given.rows):
        raise DataError(f"y has {len(labels)} labels, but there are {len(given.rows)} rows; give one a row.")
    if fingerprint(given.rows) != ae.fingerprint_:
        return given, labels, None if train is None else _judged(ae, train).rows
    if not len(ae.held_out_):
        raise DataError(
            "These are the rows the model was trained on, and none of them was held out; give rows it has not seen."
        )
    rest = np.setdiff1d(np.arange(len(given.rows)), ae.held_out_)
    return given.chosen(ae.held_out_), None if labels is None else labels[ae.held_out_], given.rows.subset(rest)


def _judged(ae: Autoencoder, X: Any) -> _Judged:
    X = check_input(ae, X, reset=False)
    rows = ae.codec_.encode(X)
    return _Judged(rows, ae._condition(X, None, len(rows)))


def _copied(
    ae: Autoencoder, drawn: _Judged, fresh: _Judged, train: Rows | None, rng: np.random.Generator
) -> tuple[float, Literal["data", "codes"]]:
    """Return the share of samples nearer to training than to held-out rows, of which there are as many."""
    if train is not None:
        sides, space = (drawn.x.numpy(), train.take(slice(None))[0].numpy(), fresh.x.numpy()), "data"
    elif len(ae.codes_):
        sides, space = (_codes(ae, drawn), ae.codes_.flatten(1).numpy(), _codes(ae, fresh)), "codes"
    else:
        raise SettingError("This model kept no codes of its training rows; give train=, the rows it was trained on.")
    rows, first, second = (some.reshape(len(some), -1) for some in sides)
    most = min(len(first), len(second), 2 * MOST_NEIGHBOURS)
    first, second = (some[rng.permutation(len(some))[:most]] for some in (first, second))
    return nearer_share(rows[:MOST_NEIGHBOURS], first, second), space


def _codes(ae: Autoencoder, judged: _Judged) -> np.ndarray:
    codes = map_rows(lambda batch: ae.model_.encode(batch).embedding, judged.rows, ae.model_, condition=judged.told)
    return codes.reshape(len(codes), -1)


def _learned(judged: _Judged, labels: np.ndarray, seed: int) -> Callable[[_Judged], np.ndarray]:
    if len(np.unique(labels.astype(str))) < 2:
        raise DataError("y holds a single label, which teaches a classifier nothing; leave y out.")
    seen = classifier(judged.x, labels, seed)
    return lambda rows: seen(rows.x)


def _rebuilt(ae: Autoencoder, judged: _Judged) -> _Judged:
    """Return the reconstructions as a user gets them: categories are one of those there are, levels of grey are whole."""
    x = map_rows(ae.model_.expected, judged.rows, ae.model_, condition=judged.told)
    return judged._replace(rows=ae.codec_.encode(ae.codec_.decode(x)))
