"""
Generative models of prosthetic sockets: adversarial autoencoders of point clouds.

Modules, each importing only from those before it: `files`, `clouds`, `neighbors`, `distances`,
`metrics`, `significance`, `sockets`, `shape_model`, `baselines`, `corpus`, `data`, `models`,
`training`, `latent`, `figures`, `tables`, `study`, `conditions`, `explorer`,
`verification`, `report`, `cli`.
TensorFlow is imported by `models` and `training`.
"""
