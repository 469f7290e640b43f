"""Doors for the stores of others: Zarr 3 and numcodecs (Zarr 2). Each chunk of a store is a small .isth file."""
