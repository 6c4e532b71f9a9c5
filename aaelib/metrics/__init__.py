"""How good reconstructions and generated shapes are, and what a difference is worth."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "distances": [
            "chamfer_distance",
            "earth_movers_distance",
            "nearest_earth_movers_distance",
            "pairwise_chamfer",
        ],
        "generative": [
            "coverage",
            "generative_metrics",
            "jensen_shannon_divergence",
            "minimum_matching_distance",
            "one_nearest_neighbor_accuracy",
        ],
        "reconstruction": ["surface_distance"],
    },
)
