"""The report as one self-contained page: facts -> template -> HTML, with plots as SVG that follow the theme."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from isthmus.apps.displays import PALETTE, MovesDisplay, ReconstructionDisplay, picture, rivals
from isthmus.apps.words import percent, plain
from isthmus.atomic import written_whole
from isthmus.errors import DataError

if TYPE_CHECKING:
    from isthmus.apps.displays import BaselineDisplay, CodeMapDisplay, LearningCurveDisplay
    from isthmus.apps.evidence import Pair
    from isthmus.apps.interpretation import Interpretation
    from isthmus.apps.section import Drawable, Section

MOST_COLUMNS = 60
"""More columns of a table than these are left to report.json."""
MOST_CODES = 8
"""How many numbers of a code are interpreted on the page, those that move most."""
LARGEST_PICTURE = 112
"""Pictures are shrunk to this many pixels a side, so that the page stays small."""


class Facts(Protocol):
    """What a page shows: the fields of a report."""

    @property
    def data(self) -> dict[str, Any]: ...
    @property
    def scores(self) -> dict[str, Any]: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def typical(self) -> tuple[Pair, ...]: ...
    @property
    def worst(self) -> tuple[Pair, ...]: ...
    @property
    def baseline(self) -> BaselineDisplay: ...
    @property
    def curves(self) -> tuple[LearningCurveDisplay, ...]: ...
    @property
    def code_map(self) -> CodeMapDisplay | None: ...
    @property
    def interpretation(self) -> Interpretation | None: ...
    @property
    def sections(self) -> tuple[Section, ...]: ...
    def to_dict(self) -> dict[str, Any]: ...


def render(report: Facts) -> str:
    """Return the page of a report."""
    return _fill(
        "report.html.jinja",
        report.to_dict(),
        sections=_shown(report.sections),
        rivals=rivals(report.data["code"]),
        figures=_figures(report),
        pictures=_pictures(report),
        heat=_heat(report),
        most_codes=MOST_CODES,
        columns=list(report.scores.get("columns", {}).items())[:MOST_COLUMNS],
        most_columns=MOST_COLUMNS,
        settings={name: setting_text(value) for name, value in report.settings.items()},
    )


def render_sections(page: Page) -> str:
    """Return a page of sections alone."""
    return _fill("sections.html.jinja", page.to_dict(), sections=_shown(page.sections))


def _fill(template: str, facts: dict[str, Any], **shown: Any) -> str:
    """Fill a template; the facts travel within the page, too."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("isthmus.apps", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "value": value_text, "move": move_text}
    # "</" would end the script element that carries the facts
    facts_json = json.dumps(facts, ensure_ascii=False, allow_nan=False).replace("</", "<\\/")
    return environment.get_template(template).render(facts=facts, facts_json=facts_json, **shown)


def _shown(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Return what the template shows of sections: plots drawn, numbers written."""
    return [
        {
            "title": section.title,
            "sentences": section.sentences,
            "figures": [svg(*figure) for figure in section.figures],
            "pictures": [
                {"caption": picture.caption, "sources": [_data_uri(image) for image in picture.images]}
                for picture in section.pictures
            ],
            "tables": [
                {
                    "caption": table.caption,
                    "header": table.header,
                    "rows": [[cell_text(cell) for cell in plain(row)] for row in table.rows],
                    "numeric": [
                        all(isinstance(row[place], (int, float)) or row[place] is None for row in plain(table.rows))
                        for place in range(len(table.header))
                    ],
                }
                for table in section.tables
            ],
        }
        for section in sections
    ]


def cell_text(cell: Any) -> str:
    """Write a cell of a section's table."""
    if cell is None or isinstance(cell, float):
        return number(cell)
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def number(value: float | None) -> str:
    """Write a number with four significant digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def value_text(value: Any) -> str:
    """Write the value of a cell as a reader would."""
    if value is None:
        return "gap"
    if isinstance(value, float):
        return f"{value:.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:.5g}"
    text = str(value)
    return text if len(text) <= 32 else f"{text[:31]}…"


def move_text(move: dict[str, Any]) -> str:
    """Write how far a column moves: with its sign where most rows agree on one, and to which category."""
    size, signed = move["size"], move["signed"]
    if signed is None:
        return f"→ {value_text(move['towards'])} {size:.2f}"
    if abs(signed) < size / 2:
        return f"±{size:.2f}"
    return f"{'+' if signed > 0 else '−'}{size:.2f}"


def setting_text(value: Any) -> str:
    """Write a setting as it would stand in Python: {"part": "MLP", "hidden": [64]} becomes MLP(hidden=(64,))."""
    if isinstance(value, dict):
        inner = ", ".join(f"{key}={setting_text(inner)}" for key, inner in value.items() if key != "part")
        return f"{value.get('part', 'dict')}({inner})"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(setting_text, value))}{',' if len(value) == 1 else ''})"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def svg(display: Drawable, name: str, label: str, size: tuple[float, float]) -> str:
    """Draw a display as an inline SVG whose colours are the page's."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Text stays text: it takes the page's font, can be searched, and costs little. A fixed salt keeps ids reproducible.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "isthmus", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        display.plot(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, dpi=220, metadata={"Date": None, "Creator": None})
    return _themed(file.getvalue(), name, label)


def _themed(text: str, name: str, label: str) -> str:
    """Strip what only a file needs, make ids unique within the page, and let CSS choose the colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text).replace("url(#", f"url(#{name}-")
    for role, colour in PALETTE._asdict().items():
        text = text.replace(colour, f"var(--{role})")
    text = text.replace("#000000", "var(--ink)")
    text = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", text)
    text = re.sub(r"font-family: [^;\"]+;?", "", text)
    text = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _figures(report: Facts) -> dict[str, str]:
    """Draw every plot of the page."""
    figures = {
        "baseline": svg(report.baseline, "baseline", "squared error of the model, PCA and the mean", (4.2, 1.15))
    }
    for curve in report.curves:
        figures[f"curve_{curve.term}"] = svg(curve, curve.term, f"{curve.term} over the epochs", (4.7, 2.3))
    if report.code_map is not None:
        figures["map"] = svg(report.code_map, "map", "map of the codes", (4.7, 3.4))
    if report.data["kind"] == "series":
        for name, pairs in (("typical", report.typical), ("worst", report.worst)):
            display = ReconstructionDisplay(pairs, "series")
            figures[name] = svg(display, name, f"{name} windows beside their reconstructions", (4.7, 1.7))
        if report.interpretation is not None:
            display = MovesDisplay.from_interpretation(report.interpretation, MOST_CODES // 2)
            figures["moves"] = svg(display, "moves", "how each number of the code moves a window", (4.7, 1.7))
    return figures


def _heat(report: Facts) -> list[dict[str, Any]]:
    """Return for each number of the code a picture of what it moves, and one of what PCA's nearest does; images only."""
    found = report.interpretation
    if found is None or report.data["kind"] != "images" or found.moves.ndim != 4:
        return []
    best, cosine = found.nearest()
    return [
        {
            "code": int(found.codes[place]),
            "component": int(best[place]),
            "cosine": abs(float(cosine[place])),
            "ours": _data_uri(heat(found.signed[place])),
            "theirs": _data_uri(heat(np.sign(cosine[place]) * found.loadings[best[place]])),
        }
        for place in found.order[:MOST_CODES]
    ]


def heat(moves: np.ndarray) -> np.ndarray:
    """Draw moves (c, h, w) as RGBA (h, w, 4): what rises in one colour, what falls in another, nothing where nothing moves."""
    mean = moves.mean(0)
    strength = np.abs(mean) / max(float(np.abs(mean).max()), 1e-30)
    colours = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (PALETTE.alert, PALETTE.accent)]
    rgb = np.where((mean > 0)[..., None], *np.array(colours, np.uint8)[::-1, None, None])
    return np.concatenate([rgb, np.rint(255 * strength).astype(np.uint8)[..., None]], axis=-1).astype(np.uint8)


def _pictures(report: Facts) -> dict[str, list[dict[str, Any]]]:
    """Return originals and reconstructions as PNG data URIs, for images only."""
    if report.data["kind"] != "images":
        return {}
    return {"typical": list(map(_picture_pair, report.typical)), "worst": list(map(_picture_pair, report.worst))}


def _picture_pair(pair: Pair) -> dict[str, Any]:
    return {
        "row": pair.row,
        "error": plain(pair.error),
        "original": _data_uri(picture(pair.x)),
        "rebuilt": _data_uri(picture(pair.x_hat)),
    }


def _data_uri(pixels: np.ndarray) -> str:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


@dataclass(frozen=True)
class Page:
    """A page of sections alone, for a use that has no single autoencoder to report on."""

    title: str
    summary: str
    sections: tuple[Section, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return every fact of the page as plain data."""
        return {"title": self.title, "summary": self.summary, "sections": [each.to_dict() for each in self.sections]}

    def to_html(self) -> str:
        """Return the page: one file, no outside request, light and dark."""
        return render_sections(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to ``path`` (.html) and the facts to the .json beside it; return the path of the page."""
        return save_page(path, self.to_html(), self.to_dict())


def save_page(path: str | os.PathLike[str], html: str, facts: dict[str, Any]) -> Path:
    """Write a page (.html) and its facts as JSON beside it, each whole or not at all; return the path of the page."""
    page = Path(path)
    if page.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"a report is a page, but {str(page)!r} does not end in .html; give it a name that does.")
    text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
    for file, content in ((page, html), (page.with_suffix(".json"), text + "\n")):
        with written_whole(file) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return page
