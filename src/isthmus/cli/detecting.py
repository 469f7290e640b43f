"""`isthmus detect`: which rows do not belong, how sure that is, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from isthmus.cli.fitting import refuse_other_folders
from isthmus.cli.options import Columns, Data, Drop, Gaps, Header, Json, Step, Window
from isthmus.cli.printing import blank, command, print_facts, print_json, print_notes, print_text
from isthmus.cli.reading import read_like, read_whole
from isthmus.cli.settings import choose
from isthmus.cli.using import spare_the_input
from isthmus.errors import DataError, ModelFileError, SettingError

if TYPE_CHECKING:
    from isthmus.apps.anomaly.detector import AnomalyDetector
    from isthmus.apps.anomaly.findings import Findings

SHOWN = 5
"""So many of the oddest rows are printed."""
_RULE = "Where to cut (by default 1 % of normal rows are flagged)"


def detect(  # the parameters are the flags: typer reads them off this signature
    data: Data,
    model: Annotated[
        Path | None,
        typer.Option("-m", "--model", metavar="MODEL", help="A saved detector or autoencoder; else DATA is learned."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="OUT", help="The rows with score, p-value, flag and reasons.")
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="MODEL", help="Keep the detector in this folder.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="PAGE", help="Write a page with plots and reasons.")] = None,
    top: Annotated[int | None, typer.Option(min=1, metavar="N", help="Write only the N oddest, oddest first.")] = None,
    alpha: Annotated[
        float | None, typer.Option(metavar="X", help="Flag this share of normal rows.", rich_help_panel=_RULE)
    ] = None,
    contamination: Annotated[
        float | None, typer.Option(metavar="X", help="Flag this share of the training rows.", rich_help_panel=_RULE)
    ] = None,
    fdr: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="With a saved detector: at most this share of the flagged is wrong.",
            rich_help_panel=_RULE,
        ),
    ] = None,
    novelty: Annotated[bool, typer.Option("--novelty", help="All rows of DATA are normal: learn from all.")] = False,
    seed: Annotated[int, typer.Option("--seed", "--random-state", metavar="N", help="Same seed, same verdicts.")] = 0,
    gaps: Gaps = None,
    header: Header = None,
    columns: Columns = None,
    drop: Drop = None,
    window: Window = None,
    step: Step = None,
    json: Json = False,
) -> None:
    """Find the rows of DATA that do not belong, and say why."""
    _check_places(data, out, save, report)
    rule = _rule(alpha, contamination, fdr)
    reading = {"gaps": gaps, "header": header, "columns": columns, "drop": drop, "window": window, "step": step}
    if model is None:
        judged = _learn(data, rule, novelty, seed, choose(None, reading, []).reading)
    else:
        if asked := [f"--{name}" for name, value in reading.items() if value is not None]:
            raise SettingError(f"{asked[0]} is for learning: with -m, DATA is read as the model's own data was.")
        judged = _judge(data, model, rule, novelty, seed, save)
    found = judged.findings
    if out is not None:
        _write(judged, out, top)
    if save is not None:
        judged.detector.save(str(save))
    if report is not None:
        from isthmus.apps.anomaly.sections import page_of

        page_of(judged.detector, found, judged.X).save(report)
    places = {"flagged rows" if top is None else f"oddest {top}": out, "detector": save, "report": report}
    if json:
        named = {"out": out, "saved": save, "report": report}
        print_json({name: None if path is None else str(path) for name, path in named.items()} | found.to_dict(SHOWN))
        return
    _print_findings(data, judged)
    print_facts({name: str(path) for name, path in places.items() if path is not None} | _next(data, model, out, save))


class Judged(NamedTuple):
    """What was judged, by whom, and the verdict."""

    detector: AnomalyDetector
    X: Any
    table: Any
    """All columns of the file, if it has any."""
    findings: Findings
    source: str
    """A sentence that says which rows say what is usual."""


def _check_places(data: Path, out: Path | None, save: Path | None, report: Path | None) -> None:
    """Refuse places that cannot hold what is going to be written, before any work is done."""
    from isthmus.data import files

    for place in (out, report, None if report is None else report.with_suffix(".json")):
        if place is not None:
            spare_the_input(data, place)
    if out is not None:
        files.check_writable(out, "table")
    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"a report is a page, but {str(report)!r} does not end in .html; give it a name that does.")
    if save is not None:
        refuse_other_folders(save)


def _rule(alpha: float | None, contamination: float | None, fdr: float | None) -> dict[str, Any]:
    """Return the detector's settings that say where to cut."""
    asked = {
        name: value
        for name, value in {"alpha": alpha, "contamination": contamination, "fdr": fdr}.items()
        if value is not None
    }
    if len(asked) > 1:
        raise SettingError(f"{' and '.join(f'--{name}' for name in asked)} are two ways to cut; choose one.")
    return {"threshold": next(iter(asked)), **asked} if asked else {}


def _learn(data: Path, rule: dict[str, Any], novelty: bool, seed: int, reading: Any) -> Judged:
    """Learn what is usual from DATA, and judge its own rows."""
    from isthmus.apps.anomaly.detector import AnomalyDetector

    if "fdr" in rule:
        raise SettingError(
            "--fdr compares new rows with those a detector has learned from, and of those themselves nothing would ever be "
            "flagged; judge DATA by a saved detector (-m MODEL), or use --alpha."
        )
    X, table, reading = read_whole(data, reading)
    detector = AnomalyDetector(**rule, novelty=novelty, random_state=seed).fit(X)
    detector.reading_ = reading.to_json()  # it travels with the saved detector
    return Judged(detector, X, table, _of_training_rows(detector, X), "")


def _judge(data: Path, model: Path, rule: dict[str, Any], novelty: bool, seed: int, save: Path | None) -> Judged:
    """Judge DATA by a saved detector, or by what a saved autoencoder cannot rebuild."""
    from isthmus import load
    from isthmus.apps.anomaly.decisions import decide
    from isthmus.apps.anomaly.detector import AnomalyDetector
    from isthmus.apps.anomaly.findings import find
    from isthmus.estimator import Autoencoder

    loaded = load(model)
    if isinstance(loaded, Autoencoder):
        return _by_autoencoder(loaded, data, rule, novelty, seed)
    if not isinstance(loaded, AnomalyDetector):
        raise ModelFileError(
            f"{model} is a saved {type(loaded).__name__}; `detect` takes a detector or an autoencoder."
        )
    if save is not None:
        raise SettingError(f"--save keeps a detector that is made here, and {model} is one already; copy that folder.")
    if novelty:
        raise SettingError("--novelty is said when a detector learns; leave it out, or leave out -m.")
    X, table = read_like(data, loaded)
    fdr = rule.get("fdr")
    cut = None if not rule or fdr is not None else decide(loaded.calibration_, **rule)
    return Judged(loaded, X, table, find(loaded, X, fdr, cut), "")


def _by_autoencoder(ae: Any, data: Path, rule: dict[str, Any], novelty: bool, seed: int) -> Judged:
    from isthmus.apps.anomaly.detector import AnomalyDetector

    if "fdr" in rule:
        raise SettingError("--fdr needs a saved detector; keep one first with --save, on rows that are usual.")
    X, table = read_like(data, ae)
    detector = AnomalyDetector(ae, **rule, novelty=novelty, random_state=seed).fit(X)
    detector.reading_ = getattr(ae, "reading_", {})
    findings, usual = _of_training_rows(detector, X), len(detector.training_scores_)
    if usual < len(findings.scores):
        said = f"The {usual:,} rows that the autoencoder held out of its training say what is usual."
    else:
        said = "The autoencoder has not learned from these rows; all of them say what is usual."
    return Judged(detector, X, table, findings, said)


def _of_training_rows(detector: AnomalyDetector, X: Any) -> Findings:
    """Judge the rows a detector was fitted on by those of its members that have not seen them, where all were scored so."""
    from isthmus.apps.anomaly.findings import find

    fresh = detector.training_scores_
    return find(detector, X, scores=fresh if len(fresh) == len(X) else None)


def _write(judged: Judged, out: Path, top: int | None) -> None:
    from isthmus.data import files

    table = judged.table if judged.table is not None and len(judged.table) == len(judged.findings.scores) else None
    files.write(judged.findings.to_table(table, top), out)


def _print_findings(data: Path, judged: Judged) -> None:
    from isthmus.apps.anomaly.sections import size_words

    found = judged.findings
    print_text(f"{data.name}: {len(found.scores):,} {size_words(judged.detector)}", "bold")
    print_notes(judged.detector.codec_.notes)
    if judged.source:
        print_text(judged.source)
    flagged, *others = found.sentences
    print_text(flagged, "bold")
    for sentence in others:
        print_text(sentence)
    blank()
    print_text(f"The oddest {found.noun}s" if len(found.scores) > 1 else f"The {found.noun}", "bold")
    for place in map(int, found.order[:SHOWN]):
        flag = ", flagged" if found.flags[place] else ""
        print_text(f"{found.label(place)}: score {found.scores[place]:.3g}, p {found.p_values[place]:.2g}{flag}")
        for reason in found.reasons.get(place, ()):
            print_text(str(reason), "dim", 4)
    blank()


def _next(data: Path, model: Path | None, out: Path | None, save: Path | None) -> dict[str, str]:
    """Say what may come next."""
    if save is not None:
        return {"next": command("detect", "NEW-DATA", "-m", save, "-o", "flagged.csv")}
    if out is None and model is None:
        return {"next": command("detect", data, "-o", "flagged.csv", "--save", "detector")}
    return {}
