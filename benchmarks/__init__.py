"""How fast it is, against the original scheme and against peers: ``python -m benchmarks``."""
