"""Anomaly detection: scores of rows, what they would be by chance, and which rows to flag."""
