"""Engines: how one training step is computed. The eager autograd engine is the reference and serves every model."""
