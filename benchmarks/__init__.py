"""How fast it is, against the original scheme and against peers: ``make bench``."""
