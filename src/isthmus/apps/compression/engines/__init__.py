"""Coders of integer arrays: each may predict as it likes, for none can break the bound."""
