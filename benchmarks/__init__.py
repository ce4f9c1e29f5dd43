"""Measurements: each prints a table, none is a test. From the checkout: `python -m benchmarks.accuracy --help`."""
