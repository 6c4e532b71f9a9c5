"""What people do with a trained model: design, limbs, scans, the explorer, the blind assessment."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "assessment": ["draw_set", "machine_counterpart"],
        "completion": ["complete"],
        "design": ["attribute_directions", "change_size", "fit_sizes"],
        "explorer": ["explore"],
        "limbs": ["fit_limb", "load_limb"],
        "posterior": ["given_sizes"],
    },
)
