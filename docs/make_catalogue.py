"""Write docs/catalogue.md from the catalogue and the docstrings of the parts: `python docs/make_catalogue.py`."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import isthmus as ist
from isthmus.catalogue import FAMILIES, LEARNS_FROM, Entry
from isthmus.designs import Design
from isthmus.parts.bottlenecks import Bottleneck
from isthmus.parts.corruptions import Corruption
from isthmus.parts.networks import Network
from isthmus.parts.part import Part
from isthmus.parts.penalties import Penalty
from isthmus.parts.reconstructions import Reconstruction
from isthmus.parts.samplers import Sampler

PAGE = Path(__file__).parent / "catalogue.md"
HEAD = """# The catalogue

<!-- Written by docs/make_catalogue.py; a test compares the two. -->

Every variant is one function that composes parts and returns an `Autoencoder`; it takes every setting of an
`Autoencoder` besides its own. `ist.variant("name", ...)` and `isthmus fit DATA -o MODEL --variant NAME --option key=value`
reach the same functions by name, and `isthmus variants` lists them.

Throughout, `x` is a sample, `h` what the encoder's network ends in, `z` the code, `x_hat` the reconstruction; sums run over
the numbers of one sample. With a likelihood (`Normal`, `Bernoulli`, `Mixed` ..) in place of squared differences the formulas
hold with `-log p(x | z)` instead.
"""
DRAWINGS = {
    "reconstruction": "x --> encoder --> z --> decoder --> x_hat          compare x_hat with x",
    "sparse": "x --> encoder --> h --[few survive]--> z --> decoder --> x_hat",
    "denoising and contractive": "x --[noise]--> encoder --> z --> decoder --> x_hat          compare with the clean x\n"
    "                    '--> |dz/dx|^2, |z|^2, |dx_hat/dz|^2        or hold the maps flat",
    "variational": "x --> encoder --> q(z | x) --[draw]--> z --> decoder --> p(x | z)\n"
    "                       '--> near p(z) ?                      draw z ~ p(z) for new samples",
    "discrete": "x --> encoder --> h --[nearest entry, level or bit]--> z --> decoder --> x_hat\n"
    "                         gradients pass straight through",
    "masked and sequence": "x --[hide patches, cells]--> tokens or steps --> z --> tokens or steps --> x_hat",
}
PARTS: dict[str, type[Part]] = {
    "Networks": Network,
    "Bottlenecks": Bottleneck,
    "Corruptions": Corruption,
    "Reconstructions": Reconstruction,
    "Penalties": Penalty,
    "Samplers": Sampler,
    "Designs": Design,
}


def variant(entry: Entry) -> list[str]:
    """Return the section of one variant."""
    lines = [f"### {entry.name}", "", f"{entry.summary[0].upper()}{entry.summary[1:]} ({entry.source}).", ""]
    lines += [f"    {entry.formula}", "", f"* **When:** {entry.use}", f"* **When not:** {entry.avoid}"]
    lines.append(f"* **Learns from:** {LEARNS_FROM[entry.inputs]}.")
    for option in entry.options:
        lines.append(f"* `{option.name}={option.default!r}`: {option.help}")
    return [*lines, "", f"```python\n{call(entry)}\n```", ""]


def call(entry: Entry) -> str:
    """Return how the variant is called."""
    arguments = [f"{option.name}={option.default!r}" for option in entry.options if option.default is not None]
    data = "X, y" if entry.inputs == "labels" else "X"
    return f"ist.{entry.name}({', '.join(['latent_dim=16', *arguments])}).fit({data})"


def part(cls: type[Part]) -> str:
    """Return the line of one part: its name, its parameters, the first sentence of its docstring."""
    defaults = ", ".join(f"{field.name}={getattr(cls(), field.name)!r}" for field in fields(cls))  # pyright: ignore[reportArgumentType] - every part is a dataclass
    sentence = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split()).replace("|", "\\|")
    return f"| `{cls.__name__}({defaults})` | {sentence} |"


def own(family: type[Part]) -> list[type[Part]]:
    """Return the house's own parts of a family that users can name."""
    found = {getattr(ist, name) for name in ist.__all__ if inspect.isclass(getattr(ist, name))}
    return sorted((cls for cls in found if issubclass(cls, family)), key=lambda cls: cls.__name__)


def page() -> str:
    """Return the whole page."""
    lines = [HEAD]
    for family, entries in FAMILIES.items():
        lines += [f"## {family[0].upper()}{family[1:]}", "", f"    {DRAWINGS[family]}".replace("\n", "\n    "), ""]
        lines += [line for entry in entries for line in variant(entry)]
    lines += [
        "## The parts",
        "",
        "All compose: `ist.Autoencoder(network=.., bottleneck=.., corruptions=.., penalties=..)`.",
        "",
    ]
    for title, family in PARTS.items():
        lines += [f"### {title}", "", "| | |", "|---|---|", *(part(cls) for cls in own(family)), ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
