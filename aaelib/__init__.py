"""
Generative models of prosthetic sockets: adversarial autoencoders of point clouds.

Modules, each importing only from those before it: `files`, `meshes`, `clouds`, `neighbors`,
`distances`, `metrics`, `significance`, `printing`, `sockets`, `shape_model`, `baselines`, `corpus`,
`folders`, `data`, `downloads`, `cluster`, `models`, `training`, `design`, `latent`, `limbs`,
`figures`, `tables`, `study`, `conditions`, `assessment`, `explorer`, `verification`, `report`,
`evaluation`, `experiment`, `server`, `cli`.
TensorFlow is imported by `cluster`, `models` and `training`, and what imports them.
"""
