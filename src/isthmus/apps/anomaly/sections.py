"""The page of a detector: what it found in rows, what every cut would cost, and what it has learned from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from isthmus.apps.anomaly.decisions import OperatingCurve
from isthmus.apps.anomaly.findings import WORST, Findings, taken
from isthmus.apps.anomaly.pictures import heat_maps
from isthmus.apps.displays import OperatingCurveDisplay, ScoreHistogramDisplay, picture
from isthmus.apps.page import Page, heat, setting_text, value_text
from isthmus.apps.section import Figure, Picture, Section, Table
from isthmus.apps.words import percent

RATES = (0.001, 0.01, 0.05, 0.1)
"""The false-alarm rates whose cuts are tabled."""
MOST_PICTURES = 8
HEADS: dict[str, str] = {
    "residual": "what autoencoders cannot rebuild",
    "distance": "how far the nearest rows of small samples are",
    "rarity": "how rare the value of each column is",
    "conditional": "what its past and its other channels make of each point",
    "level": "how far the level of each channel is from the usual",
    "stuck": "how long values repeat",
    "code": "how far the code is from other codes",
}


def page_of(detector: Any, findings: Findings | None = None, X: Any = None) -> Page:
    """Return the page of a detector and, where there are any, of its findings in ``X``."""
    about = (cost_section(detector, findings), detector_section(detector))
    if findings is None:
        return Page(f"An anomaly detector for {size_words(detector)}", detector.cut_.sentence, about)
    title = f"{findings.flagged:,} of {findings.count(len(findings.scores))} flagged"
    return Page(
        title, " ".join([*findings.sentences, _oddest(findings)]), (findings_section(findings, detector, X), *about)
    )


def findings_section(findings: Findings, detector: Any = None, X: Any = None) -> Section:
    """Return the scores and the oddest rows with their reasons; pictures of them, where ``X`` holds images."""
    figure = Figure(
        ScoreHistogramDisplay(findings.scores, findings.cut.score, findings.noun),
        "anomaly_scores",
        "histogram of the anomaly scores, with the score above which rows are flagged",
    )
    images = X is not None and detector.codec_.kind == "images"
    return Section(
        "What stands out",
        ("Below the scores the oddest images and, under each, where autoencoders fail to rebuild it.",)
        if images
        else (),
        () if images else _reason_tables(findings),
        (figure,),
        _pictures(findings, detector, X) if images else (),
        findings.to_dict(),
    )


def _reason_tables(findings: Findings) -> tuple[Table, ...]:
    """Return the oddest rows that are flagged, and those that come next: a line for each reason."""
    order = findings.order[:WORST]
    flagged = [int(place) for place in order if findings.flags[place]]
    others = [int(place) for place in order if not findings.flags[place]]
    header = (
        (findings.noun, "column", "observed", "expected", "share") if findings.reasons else (findings.noun, "score")
    )
    rest = "Not flagged, but next in line" if flagged else f"Nothing is flagged; the oddest {findings.noun}s"
    more = "" if findings.flagged == len(flagged) else f", the {len(flagged)} oddest"
    return tuple(
        Table(caption, header, [line for place in places for line in _lines(findings, place)])
        for caption, places in ((f"Flagged{more}", flagged), (rest, others))
        if places
    )


def _lines(findings: Findings, place: int) -> list[tuple[str, ...]]:
    """Return a line for each reason; the row's name stands in the first, its p-value in the second."""
    if not findings.reasons:
        return [(findings.label(place), f"{findings.scores[place]:.4g}, p {findings.p_values[place]:.2g}")]
    reasons = [
        (each.name, value_text(each.observed), value_text(each.expected), percent(each.share))
        for each in findings.reasons.get(place, ())
    ]
    label = findings.label(place).removeprefix(f"{findings.noun} ")
    names = (label, f"p {findings.p_values[place]:.2g}")
    pairs = zip_longest(names, reasons[: len(names)], fillvalue=("",) * 4)
    return [(str(name), *reason) for name, reason in pairs] + [("", *reason) for reason in reasons[len(names) :]]


def cost_section(detector: Any, findings: Findings | None = None) -> Section:
    """Return what every cut would cost."""
    calibration = detector.calibration_
    cut = detector.cut_ if findings is None else findings.cut
    curve = OperatingCurve.of(calibration, cut, None if findings is None else findings.scores)
    rows = []
    for rate in (rate for rate in RATES if rate >= calibration.smallest_p):
        score = calibration.score_at(rate)
        here = () if findings is None else (int((findings.scores > score).sum()),)
        rows.append((percent(rate), score, *here))
    header = ("normal rows flagged, at most", "score above", *(() if findings is None else ("flagged here",)))
    return Section(
        "Where to cut",
        (
            (
                f"The cut in use is a score of {cut.score:.4g}; {percent(cut.false_alarm_rate)} of normal rows lie above. "
                if np.isfinite(cut.score)
                else "No cut is in use. "
            )
            + "A stricter one flags fewer normal rows, and misses more odd ones.",
        ),
        (Table("", header, rows),) if rows else (),
        (Figure(OperatingCurveDisplay(curve), "operating_curve", "share of rows flagged for every cut"),),
        facts={"curve": curve.to_dict()},
    )


def detector_section(detector: Any) -> Section:
    """Return what the detector has learned from, how, and how far its word can be trusted."""
    calibration, heads = detector.calibration_, detector.judge_.heads
    said = (
        f"It judges {size_words(detector)} by {_listed([HEADS.get(str(name), str(name)) for name in heads])}. "
        f"{len(calibration.scores):,} rows calibrate its p-values, the smallest of which is {calibration.smallest_p:.2g}."
    )
    shown = ("threshold", "fdr", "alpha", "contamination", "novelty", "random_state")
    settings = [(name, setting_text(getattr(detector, name))) for name in shown]
    notes = list(detector.codec_.notes)
    tables = [Table("Settings", ("setting", "value"), settings)]
    if notes:
        tables.append(Table("What was done to the data", ("",), [(note,) for note in notes]))
    columns = detector.codec_.feature_names or []
    facts = {"columns": columns, "notes": notes, "cut": detector.cut_.to_dict(), "heads": list(heads)}
    return Section("The detector", (said,), tuple(tables), facts=facts)


def size_words(detector: Any) -> str:
    """Say what one sample is."""
    codec = detector.codec_
    shape = codec.layout.shape
    if codec.kind == "images":
        return f"images of {shape[1]} × {shape[2]} pixels{f', {shape[0]} channels' if shape[0] > 1 else ''}"
    if codec.kind == "series":
        return f"windows of {shape[0]} points{f' × {shape[1]} channels' if shape[1] > 1 else ''}"
    if codec.kind == "volumes":
        return f"volumes of {' × '.join(map(str, shape))} numbers"
    columns = len(codec.feature_names or []) or codec.layout.size
    return f"rows of {columns} column{'' if columns == 1 else 's'}"


def _oddest(findings: Findings) -> str:
    place = int(findings.order[0])
    reasons = findings.reasons.get(place, ())
    why = f": {reasons[0]}" if reasons and not findings.names else ""
    return f"The oddest is {findings.label(place)}{why}."


def _pictures(findings: Findings, detector: Any, X: Any) -> tuple[Picture, ...]:
    """Return the oddest images and, below each, where autoencoders fail to rebuild it."""
    order = findings.order[:MOST_PICTURES]
    codec = detector.codec_
    rows = codec.encode(taken(detector, X, order))
    pixels = codec.scaling.decode(rows.take(slice(None))[0].numpy(), codec.dtype)  # (n, c, h, w)
    unit = pixels / 255 if pixels.dtype == np.uint8 else pixels
    # with too few images to learn from, no autoencoder rebuilds any
    hot = heat_maps(detector, rows)[:, None] if "residual" in detector.judge_.heads else [None] * len(order)
    return tuple(
        Picture(
            (picture(image), *(() if where is None else (heat(where),))),
            f"{findings.label(int(place))}, p {findings.p_values[place]:.2g}",
        )
        for place, image, where in zip(order, unit, hot, strict=True)
    )


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
