"""Masked autoencoders, and those that read series step by step."""

from isthmus.catalogue.entry import Entry

VARIANTS: tuple[Entry, ...] = ()
