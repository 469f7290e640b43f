"""What a detector says of rows: scores, p-values, verdicts and reasons; as a table, a section of a page, plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from isthmus.apps.anomaly.calibration import Calibration
from isthmus.apps.anomaly.decisions import Cut
from isthmus.apps.page import value_text
from isthmus.apps.words import percent, plain
from isthmus.data.containers import Images, Series, is_table

if TYPE_CHECKING:
    import pyarrow as pa

REASONS = 3
"""So many columns are named for each row that is explained."""
MOST_EXPLAINED = 200
"""Of more flagged rows than these, the oddest are explained."""
WORST = 10
"""So many of the oddest rows are explained whether flagged or not."""
NOUNS = {"images": "image", "volumes": "volume", "series": "window"}
"""What one sample is called; of tables and arrays, a row."""


class Detector(Protocol):
    """What is asked of a fitted detector."""

    calibration_: Calibration
    cut_: Cut
    codec_: Any

    def anomaly_score(self, X: Any) -> np.ndarray: ...
    def explain(self, X: Any, top: int = ...) -> Any: ...


class Cause(NamedTuple):
    """A column that makes a row odd."""

    name: str
    observed: Any
    """None for a gap."""
    expected: Any
    share: float
    """Of the oddness of the row."""

    def __str__(self) -> str:
        return f"{self.name}: {value_text(self.observed)}, expected {value_text(self.expected)} ({percent(self.share)})"


@dataclass(frozen=True, eq=False)
class Findings:
    """What a detector says of n rows.

    >>> findings = detector.findings(X)  # doctest: +SKIP
    >>> findings.order[:5], findings.reasons[findings.order[0]]  # doctest: +SKIP
    """

    scores: np.ndarray
    """(n,) higher = odder."""
    p_values: np.ndarray
    """(n,) how probable a score as high is for a normal row."""
    flags: np.ndarray
    """(n,) bool."""
    cut: Cut
    """Where the flags were cut, what that costs, and why there."""
    reasons: dict[int, tuple[Cause, ...]]
    """By position, the columns most to blame first; of flagged rows and of the oddest ones. Of tables and arrays only."""
    calibration: Calibration
    """What the scores were held against."""
    noun: str = "row"
    names: tuple[str, ...] = ()
    """(n,) of image files, else empty."""
    windows: tuple[int, int] | None = None
    """Length and step, where each sample is a window of a series."""
    among_themselves: bool = False
    """Are these rows the ones that calibrate?"""

    @cached_property
    def order(self) -> np.ndarray:
        """(n,) positions, the oddest first."""
        return np.argsort(-self.scores, kind="stable")

    @property
    def flagged(self) -> int:
        """How many rows are flagged."""
        return int(self.flags.sum())

    def label(self, position: int) -> str:
        """Return what a row is called: its number (from 0), the name of its file, or the points of its window."""
        if self.names:
            return self.names[position]
        if self.windows is None:
            return f"{self.noun} {position}"
        length, step = self.windows
        return f"points {position * step} to {position * step + length - 1}"

    def count(self, number: int) -> str:
        """Write a number of samples."""
        return f"{number:,} {self.noun}{'' if number == 1 else 's'}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in words."""
        n = len(self.scores)
        verb = "is" if self.flagged == 1 else "are"
        share = f", {percent(self.flagged / n)}" if self.flagged else ""
        found = f"{self.flagged:,} of {self.count(n)} {verb} flagged{share}."
        if self.among_themselves and self.cut.rule == "alpha":
            return (found, self._said_of_ranks())
        return (found, self.cut.sentence, self._said_of_p_values())

    def _said_of_ranks(self) -> str:
        """Say what verdicts mean of the rows that calibrate: of n distinct scores the highest has p = 2 / (n + 1)."""
        least = 2 / (len(self.scores) + 1)
        if least > 0.01:
            return (
                f"Ranked among themselves, so few {self.noun}s have no p-value below {percent(least)}: look at the oddest, "
                "or flag a share of them (contamination)."
            )
        return (
            f"Judged among themselves, at most the oddest {percent(self.cut.false_alarm_rate)} are flagged, whatever they "
            f"are: a p-value here is a rank, and says which {self.noun}s are odd, not that any is wrong."
        )

    def _said_of_p_values(self) -> str:
        if self.among_themselves:
            return f"A p-value here is a rank among these very {self.noun}s: one in a hundred always has .01."
        n, smallest = len(self.p_values), self.calibration.smallest_p
        level = 0.01 if smallest <= 0.01 else 0.05
        if smallest > level:
            return (
                f"Only {self.calibration.scores.size} rows calibrate, so no p-value can be below {percent(smallest)}; "
                "give the detector more rows."
            )
        found = int((self.p_values <= level).sum())
        return (
            f"{self.count(found)} {'has' if found == 1 else 'have'} a p-value of at most {level:g}; were all normal, about "
            f"{level * n:,.3g} of {n:,} would."
        )

    def to_table(self, columns: pa.Table | None = None, top: int | None = None) -> pa.Table:
        """Return one line a row: position, what is known of it (``columns``), score, p-value, flag and reasons.

        ``top`` keeps the oddest rows, oddest first. Reasons take four columns each, empty where a row is not explained.
        """
        import pyarrow as pa

        order = np.arange(len(self.scores)) if top is None else self.order[:top]
        known = {} if columns is None else {name: columns[name].take(pa.array(order)) for name in columns.column_names}
        return pa.table(_without_clashes(self._identity(order), known, self._verdicts(order) | self._why(order)))

    def _identity(self, order: np.ndarray) -> dict[str, Any]:
        import pyarrow as pa

        found: dict[str, Any] = {"row": pa.array(order)}
        if self.names:
            found["file"] = pa.array([self.names[place] for place in order])
        if self.windows is not None:
            length, step = self.windows
            found |= {"first_point": pa.array(order * step), "last_point": pa.array(order * step + length - 1)}
        return found

    def _verdicts(self, order: np.ndarray) -> dict[str, Any]:
        import pyarrow as pa

        found = {"anomaly_score": self.scores, "p_value": self.p_values, "flag": self.flags}
        return {name: pa.array(values[order]) for name, values in found.items()}

    def _why(self, order: np.ndarray) -> dict[str, Any]:
        """Return the reasons as columns; a column of values is numbers where all of them are, else text."""
        import pyarrow as pa

        found: dict[str, Any] = {}
        most = max((len(each) for each in self.reasons.values()), default=0)
        for rank in range(most):
            ranked = [self.reasons.get(int(place), ())[rank : rank + 1] for place in order]
            found[f"reason_{rank + 1}"] = pa.array([each[0].name if each else None for each in ranked], pa.string())
            for part in ("observed", "expected"):
                values = [plain(getattr(each[0], part)) if each else None for each in ranked]
                found[f"{part}_{rank + 1}"] = _column(values)
            found[f"share_{rank + 1}"] = pa.array([each[0].share if each else None for each in ranked], pa.float64())
        return found

    def to_dict(self, worst: int = WORST) -> dict[str, Any]:
        """Return what was found as plain data: numbers of the whole, which rows are flagged, and the oddest with reasons."""
        return plain(
            {
                "rows": len(self.scores),
                "flagged": self.flagged,
                "flagged_rows": np.flatnonzero(self.flags),
                "cut": self.cut.to_dict(),
                "sentences": self.sentences,
                "calibration": {"rows": len(self.calibration.scores), "smallest_p": self.calibration.smallest_p},
                "worst": [
                    {
                        "row": place,
                        "name": self.label(place),
                        "anomaly_score": self.scores[place],
                        "p_value": self.p_values[place],
                        "flag": self.flags[place],
                        "reasons": [reason._asdict() for reason in self.reasons.get(int(place), ())],
                    }
                    for place in self.order[:worst]
                ],
            }
        )


def find(
    detector: Detector, X: Any, fdr: float | None = None, cut: Cut | None = None, scores: np.ndarray | None = None
) -> Findings:
    """Judge the rows of ``X``, and say why the oddest are odd.

    Parameters
    ----------
    fdr : flag so that at most this share of what is flagged in this batch is flagged wrongly; by default every row is held
        against the detector's own cut.
    cut : another cut than the detector's.
    scores : (n,) of these rows, where they are those that calibrate: members that have not seen them have judged them.
    """
    among_themselves = scores is not None
    scores = detector.anomaly_score(X) if scores is None else scores
    calibration = detector.calibration_
    if fdr is not None:
        cut = batch_cut(calibration, scores, fdr)
    found = Findings(
        scores,
        calibration.p_values(scores),
        scores > (cut or detector.cut_).score,
        cut or detector.cut_,
        {},
        calibration,
        NOUNS.get(detector.codec_.kind, "row"),
        tuple(X.names) if isinstance(X, Images) else (),
        (X.length, X.step) if isinstance(X, Series) else None,
        among_themselves,
    )
    if detector.codec_.kind not in ("table", "array"):  # single pixels and points say nothing; a picture does
        return found
    asked = found.order[: max(WORST, min(found.flagged, MOST_EXPLAINED))]
    explained = detector.explain(taken(detector, X, asked), top=REASONS)
    reasons = {int(place): _reasons(each.columns) for place, each in zip(asked, explained, strict=True)}
    return replace(found, reasons=reasons)


def batch_cut(calibration: Calibration, scores: np.ndarray, fdr: float) -> Cut:
    """Return the cut by which at most a share ``fdr`` of what is flagged among ``scores`` is expected to be normal."""
    flags = calibration.detect(scores, fdr)
    if not flags.any():
        said = f"Nothing in this batch stands out so far that at most {percent(fdr)} of what is flagged would be wrong."
        return Cut(np.inf, "fdr", 0.0, 0.0, said)
    score = calibration.score_at(float(calibration.p_values(scores)[flags].max()))
    said = f"At most {percent(fdr)} of what is flagged in this batch is expected to be flagged wrongly."
    return Cut(score, "fdr", float(calibration.false_alarm_rate(score)), float(flags.mean()), said)


def taken(detector: Detector, X: Any, positions: np.ndarray) -> Any:
    """Return some samples of ``X``, in the form that it has; windows of a series as an array (m, length, channels)."""
    if isinstance(X, Images):
        return replace(X, pixels=X.pixels[positions], names=[X.names[place] for place in positions])
    if isinstance(X, Series):
        x, observed = detector.codec_.encode(X).subset(positions.copy()).take(slice(None))
        values = x.numpy().astype(np.float64)
        return detector.codec_.decode(values if observed is None else np.where(observed.numpy(), values, np.nan))
    if is_table(X):
        import narwhals as nw

        return nw.from_native(X, eager_only=True)[positions.tolist()].to_native()
    return (X if hasattr(X, "shape") else np.asarray(X))[positions.copy()]


def _reasons(columns: Sequence[Any]) -> tuple[Cause, ...]:
    guilty = [each for each in columns[:REASONS] if each.share > 0]
    return tuple(Cause(str(each.name), each.observed, each.expected, float(each.share)) for each in guilty)


def _column(values: list[Any]) -> Any:
    import pyarrow as pa

    if all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in values):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _without_clashes(ahead: dict[str, Any], known: dict[str, Any], behind: dict[str, Any]) -> dict[str, Any]:
    """Join columns; where the data has one of our names, ours gets another."""
    ours = {name: f"isthmus_{name}" if name in known else name for name in (*ahead, *behind)}
    return (
        {ours[name]: values for name, values in ahead.items()}
        | known
        | {ours[name]: values for name, values in behind.items()}
    )
