"""The steps of `make torture`, a subject a file; benchmarks/torture.py runs them."""
