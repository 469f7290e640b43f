"""Discrete autoencoders: codes made of whole numbers, or of bits."""

from isthmus.catalogue.entry import Entry

VARIANTS: tuple[Entry, ...] = ()
