"""The catalogue: which variants there are. Plain data, free of torch, so that help texts and menus cost nothing."""

from isthmus.catalogue import codebooks, noise, probability, reconstruction, sequences, sparsity
from isthmus.catalogue.entry import Entry, Option

FAMILIES: dict[str, tuple[Entry, ...]] = {
    "reconstruction": reconstruction.VARIANTS,
    "sparse": sparsity.VARIANTS,
    "denoising and contractive": noise.VARIANTS,
    "variational": probability.VARIANTS,
    "discrete": codebooks.VARIANTS,
    "masked and sequence": sequences.VARIANTS,
}
VARIANTS: tuple[Entry, ...] = tuple(entry for family in FAMILIES.values() for entry in family)

__all__ = ["FAMILIES", "VARIANTS", "Entry", "Option"]
