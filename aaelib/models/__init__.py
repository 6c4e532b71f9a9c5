"""The adversarial autoencoder: its recipe, networks, training, files and latent space."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "autoencoder": ["AdversarialAutoencoder"],
        "exported": ["export_weights"],
        "files": ["load"],
        "latent": ["direction", "interpolate"],
        "recipes": ["Recipe", "recipe"],
        "runs": ["Run"],
        "scans": ["ScanEncoder"],
        "starts": ["Start"],
        "training": ["Settings", "train"],
    },
)
