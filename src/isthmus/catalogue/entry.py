"""What the catalogue says of a variant."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

LEARNS_FROM = {
    "any": "anything",
    "images": "images",
    "series": "series",
    "places": "images, volumes or series",
    "counts": "counts: whole numbers of at least 0",
    "labels": "anything, with labels or columns to tell",
}
"""What ``Entry.inputs`` means, in words."""


class Option(NamedTuple):
    """A parameter of a variant's own, beside those every Autoencoder takes."""

    name: str
    kind: Literal["int", "float", "str", "ints", "floats", "bool"]
    default: Any
    help: str


class Entry(NamedTuple):
    """A variant: its function in ``isthmus.variants``, what it is, when to take it, and what it learns from."""

    name: str
    summary: str
    """What it is, in a clause."""
    use: str
    """When to take it, a sentence."""
    avoid: str
    """When not, a sentence."""
    formula: str
    """What it minimises, in plain text: x_hat, z, h as everywhere."""
    inputs: Literal["any", "images", "series", "places", "counts", "labels"]
    """What it learns from: anything; images; series; images, series or volumes ("places"); counts; rows with labels."""
    options: tuple[Option, ...]
    source: str
    """Author and year of the paper."""
