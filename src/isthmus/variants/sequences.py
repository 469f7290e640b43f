"""Masked autoencoders, and those that read series step by step."""

from __future__ import annotations
