"""
Generative models of prosthetic sockets: adversarial autoencoders of point clouds.

Five layers, each importing only from those before it (`make lint` checks it): `shapes`, `metrics`,
`models`, `study`, `apps`. Each loads when it is first used, and so does TensorFlow (SPEC 1).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["shapes", "metrics", "models", "study", "apps"]
)
