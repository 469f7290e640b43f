"""The report: how good a fitted autoencoder is, said plainly; one set of facts as object, JSON and page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isthmus.apps.displays import BaselineDisplay, CodeMapDisplay, LearningCurveDisplay
from isthmus.apps.evidence import Evidence, Pair, gather_evidence, typical_and_worst
from isthmus.apps.health import Finding, compared, examine
from isthmus.apps.interpretation import Interpretation, interpret_evidence
from isthmus.apps.page import render, save_page
from isthmus.apps.section import Section
from isthmus.apps.words import percent, plain
from isthmus.errors import DataError

if TYPE_CHECKING:
    from isthmus.estimator import Autoencoder

FORMAT = 1
EXAMPLES = {"images": 8, "series": 4}
"""How many typical and how many worst rows are shown; of tables and arrays, four."""
MOST_CELLS = 4
"""How many cells of a table row are named in the report, the worst first."""
LEAST_SHARE = 0.01
"""A cell that is to blame for less of its row's error than this is not named."""


@dataclass(frozen=True)
class Report:
    """What was found about one model; ``save`` writes the page and the same facts as JSON."""

    title: str
    summary: str
    """One paragraph in plain words."""
    scope: str
    """Which rows the examples and the map come from, or why there are none."""
    data: dict[str, Any]
    scores: dict[str, Any]
    training: dict[str, Any]
    health: tuple[Finding, ...]
    settings: dict[str, Any]
    typical: tuple[Pair, ...]
    """Rows of about the median error, beside their reconstructions."""
    worst: tuple[Pair, ...]
    """The rows of largest error, beside their reconstructions."""
    median_error: float | None
    baseline: BaselineDisplay
    curves: tuple[LearningCurveDisplay, ...]
    code_map: CodeMapDisplay | None
    interpretation: Interpretation | None
    sections: tuple[Section, ...] = ()
    """What the uses of the model found."""

    def to_dict(self) -> dict[str, Any]:
        """Return every fact of the page as plain data; pictures and drawings apart."""
        code_map = self.code_map
        return plain(
            {
                "format": FORMAT,
                "title": self.title,
                "summary": self.summary,
                "scope": self.scope,
                "data": self.data,
                "scores": self.scores,
                "training": self.training,
                "health": [finding.to_dict() for finding in self.health],
                "settings": self.settings,
                "median_error": self.median_error,
                "typical": [_pair_facts(pair) for pair in self.typical],
                "worst": [_pair_facts(pair) for pair in self.worst],
                "code_map": None
                if code_map is None
                else {
                    "axes": code_map.axes,
                    "label": code_map.label,
                    "points": [[float(f"{number:.4g}") for number in point] for point in code_map.points],
                    "values": code_map.values,
                },
                "interpretation": None if self.interpretation is None else self.interpretation.to_dict(),
                "sections": [section.to_dict() for section in self.sections],
            }
        )

    def to_html(self) -> str:
        """Return the page: one file, no outside request, light and dark."""
        return render(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to ``path`` (.html) and the facts to the .json beside it; return the path of the page."""
        return save_page(path, self.to_html(), self.to_dict())


def report(
    ae: Autoencoder, X: Any = None, y: Any = None, y_name: str | None = None, sections: Sequence[Section] = ()
) -> Report:
    """Report how good a fitted autoencoder is, in numbers, pictures and sentences.

    Parameters
    ----------
    X : data to show examples of and to map. If it is what ``ae`` was trained on, the examples are held-out rows of it; any
        other is taken as new. None reports from what the model carries.
    y : one value a row of X, by which the map is coloured instead of by error; ``y_name`` is what the legend calls it.
    sections : what uses of the model found: the ``section()`` of their results.

    >>> ist.report(ae, X).save("report.html")  # doctest: +SKIP
    """
    check_is_fitted(ae)
    evidence = None if X is None else gather_evidence(ae, X)
    if evidence is not None and y is not None and len(y) != evidence.total:
        raise DataError(f"y has {len(y)} values, but X has {evidence.total} rows; give one value a row.")
    typical, worst = ([], []) if evidence is None else typical_and_worst(ae, evidence, EXAMPLES.get(ae.codec_.kind, 4))
    findings = examine(ae, evidence)
    history = ae.history_
    terms = ["loss", *(["kl"] if history.epochs and "kl" in history.epochs[0]["train"] else [])]
    return Report(
        title=f"{_size_words(ae)}, through a code of {ae.code_size_}",
        summary=summarise(ae, findings),
        scope="No data was given, so there are no examples and no map; report(ae, X) adds them."
        if evidence is None
        else evidence.scope,
        data=_data_facts(ae, evidence),
        scores=ae.scores_,
        training=history.to_json(),
        health=tuple(findings),
        settings=ae.settings_,
        typical=tuple(typical),
        worst=tuple(worst),
        median_error=None if evidence is None else float(np.median(evidence.errors[evidence.judged])),
        baseline=BaselineDisplay.from_scores(ae.scores_, ae.code_size_),
        curves=tuple(LearningCurveDisplay.from_history(history, term) for term in terms) if len(history) > 1 else (),
        code_map=None if evidence is None else CodeMapDisplay.from_evidence(evidence, y, y_name),
        interpretation=None if evidence is None else interpret_evidence(ae, evidence),
        sections=tuple(sections),
    )


def summarise(ae: Autoencoder, findings: list[Finding]) -> str:
    """Say in one paragraph what was learned and how well."""
    scores, code = ae.scores_, ae.code_size_
    where = (
        f"{scores['rows']:,} rows it was not trained on"
        if scores["held_out"]
        else f"its {scores['rows']:,} training rows"
    )
    sentences = [f"The model passes {_size_words(ae)} through a code of {code} and back."]
    explained, pca = scores["model"]["explained"], scores["pca"]["explained"]
    if explained is not None:
        sentences.append(
            f"On {where}, what comes back explains {percent(explained)} of what varies; PCA with a code of the same "
            f"size explains {percent(pca)}{_against(ae)}."
        )
    if scores["model"]["accuracy"] is not None:
        sentences.append(
            f"Of the categories and yes/no cells it gets {percent(scores['model']['accuracy'])} right, PCA "
            f"{percent(scores['pca']['accuracy'])}, always guessing the commonest "
            f"{percent(scores['mean']['accuracy'])}."
        )
    warnings = [finding for finding in findings if finding.verdict == "warning"]
    sentences += [f"Worth attention: {finding.sentence[0].lower()}{finding.sentence[1:]}" for finding in warnings]
    if not warnings:
        sentences.append("Nothing about its health asks for attention.")
    return " ".join(sentences)


def _against(ae: Autoencoder) -> str:
    if ae.floor_ is not None and not ae.floor_.kept:
        return ", and that is what the model is: its network saved nothing beyond doubt"
    scores = ae.scores_
    model, pca = scores["model"]["squared_error"], scores["pca"]["squared_error"]
    return f", so the squared error is {compared(model, pca)} PCA's"


def _size_words(ae: Autoencoder) -> str:
    layout = ae.codec_.layout
    if ae.codec_.kind == "images":
        channels, height, width = layout.shape
        return f"images of {height} × {width}{f' × {channels}' if channels > 1 else ''} pixels"
    if ae.codec_.kind == "volumes":
        return f"volumes of {' × '.join(map(str, layout.shape))} numbers"
    if ae.codec_.kind == "series":
        length, channels = layout.shape
        return f"windows of {length} points{f' × {channels} channels' if channels > 1 else ''}"
    columns = len(ae.codec_.feature_names or [])
    return f"{columns} columns ({layout.size} numbers)" if columns else f"{layout.size} columns"


def _data_facts(ae: Autoencoder, evidence: Evidence | None) -> dict[str, Any]:
    codec = ae.codec_
    encoded: dict[str, str] = {}
    gaps = {block.column for block in codec.layout.blocks if block.gap}
    for block in codec.layout.blocks:
        encoded.setdefault(block.column, "gaps only" if block.gap else block.kind)
    return {
        "kind": codec.kind,
        "shape": list(codec.layout.shape),
        "numbers": codec.layout.size,
        "code": ae.code_size_,
        "rows": None if evidence is None else evidence.total,
        "rows_used": None if evidence is None else len(evidence.codes),
        "rows_judged": None if evidence is None else len(evidence.judged),
        "source": None if evidence is None else evidence.source,
        "columns": [
            {"name": name, "kind": encoded.get(name, "not encoded"), "gaps": name in gaps}
            for name in codec.feature_names or []
        ],
        "notes": list(codec.notes),
        "identifiers": list(codec.leaks),
    }


def _pair_facts(pair: Pair) -> dict[str, Any]:
    return {
        "row": pair.row,
        "error": pair.error,
        "cells": [cell._asdict() for cell in pair.cells[:MOST_CELLS] if cell.share >= LEAST_SHARE],
    }
