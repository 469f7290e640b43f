"""Synthetic tables: rows that could have stood in a table, drawn column by column, and how good they are."""
