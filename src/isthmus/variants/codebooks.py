"""Discrete autoencoders: codes made of whole numbers, or of bits."""

from __future__ import annotations
