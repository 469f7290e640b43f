"""The catalogue: which variants there are. Plain data, free of torch, so that help texts and menus cost nothing."""

from difflib import get_close_matches

from isthmus.catalogue import codebooks, noise, probability, reconstruction, sequences, sparsity
from isthmus.catalogue.entry import LEARNS_FROM, Entry, Option

FAMILIES: dict[str, tuple[Entry, ...]] = {
    "reconstruction": reconstruction.VARIANTS,
    "sparse": sparsity.VARIANTS,
    "denoising and contractive": noise.VARIANTS,
    "variational": probability.VARIANTS,
    "discrete": codebooks.VARIANTS,
    "masked and sequence": sequences.VARIANTS,
}
VARIANTS: tuple[Entry, ...] = tuple(entry for family in FAMILIES.values() for entry in family)


def unknown(name: str) -> str:
    """Return the sentence for a variant that is not there, with those whose names are near."""
    near = get_close_matches(name, [entry.name for entry in VARIANTS])
    hint = f"did you mean {' or '.join(near)}?" if near else "`isthmus variants` lists them, as docs/catalogue.md does."
    return f"There is no variant {name!r}; {hint}"


__all__ = ["FAMILIES", "LEARNS_FROM", "VARIANTS", "Entry", "Option", "unknown"]
