# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. What augmentation and transfer bring
#
# The four models of notebook 3 on sockets that neither they nor the selection of their epochs have
# seen, beside what a sceptic would use instead: the nearest scan, the linear shape model of the
# scans, and the floor below which the sampling of points lets nobody get.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")

# %%
import numpy as np

from aaelib import baselines, data, figures, models, tables, training
from aaelib.metrics import surface_distance
from aaelib.shape_model import ShapeModel
from aaelib.study import Study

study = Study(profile, "04_evaluation")
shapes, surfaces, split = study.load_shapes("sockets")
study.source = training.card_of(study.model_path("augmentation_transfer"))["source"]
test = shapes[split["test"]]
test_surfaces = [surfaces[i] for i in split["test"]]

# %% [markdown]
# ## Models and baselines
#
# *Reconstruction*: each test socket is encoded and decoded; baselines give the nearest scan, scaled
# to the socket's size, or the nearest surface of the linear shape model, which is told the kind of
# socket. *Generation*: as many samples as there are test sockets, several times over; baselines give
# the scans themselves and draws of the linear shape model. The *sampling floor* is the test sockets'
# own surfaces, sampled anew.
#
# The original code's "reconstruction" is the distance to the nearest of all reconstructions; here
# each socket is compared with its own.

# %%
conditions = ["neither", "augmentation", "transfer", "augmentation + transfer"]
aaes = {name: models.load(study.model_path(name.replace(" + ", "_"))) for name in conditions}
shape_models = {
    kind: ShapeModel.load(study.folder / "models" / f"shape_model_{kind}.npz")
    for kind in data.KINDS
}
scans = shapes.points[split["scans"]]
# Other draws of the prior than those by which epochs were selected.
seeds = range(1000 + study.seed, 1000 + study.seed + study["evaluation"]["draws"])

# %%
reconstructions = {name: aae.reconstruct(test.points) for name, aae in aaes.items()}
generations = {name: [aae.sample(len(test), s) for s in seeds] for name, aae in aaes.items()}

reconstructions["nearest scan"] = baselines.nearest(test.points, scans)
generations["nearest scan"] = [scans]
reconstructions["linear shape model"] = baselines.linear_reconstructions(
    shape_models, test_surfaces, test.kinds, seed=study.seed
)
generations["linear shape model"] = [
    baselines.linear_samples(shape_models, test.kinds, seed=s) for s in seeds
]
floor = baselines.resampled(test_surfaces, seed=study.seed)
reconstructions["sampling floor"], generations["sampling floor"] = floor, [floor]

# %% [markdown]
# ## The table
#
# *Chamfer*: mean squared distance to the nearest point, both directions summed, in the unit sphere
# of the socket. *Surface*: distance of the reconstruction's points to the socket's surface, in mm.
# *Fidelity* (minimum matching distance): Chamfer distance from each test socket to the nearest
# sample. *Coverage*: share of test sockets that are the nearest of some sample. *JSD*: divergence of
# where points lie. *1-NN*: accuracy of telling samples from test sockets by their nearest neighbour;
# 0.5 is best, below it samples are copies of test sockets.
#
# For generation each cloud is put in a unit sphere of its own, as in the paper: around the centroid
# of its points. Where points are not evenly spread, as on the published sockets, their centroid is
# some millimetres from that of an even sample of the same surface. This is in all generative
# columns; the row of the sampling floor shows how much.

# %%
comparison, errors = tables.comparison(test, test_surfaces, reconstructions, generations)
study.table(
    "T4_augmentation_transfer",
    comparison,
    f"Reconstruction of {len(test)} unseen sockets, and generation of as many. The scans, in the row "
    f"'nearest scan', are {len(scans)}: they can cover {len(scans) / len(test):.2f} at most. chamfer, surface_mm, fidelity, jsd: lower is better; coverage: higher; "
    "one_nn_accuracy: 0.5 is best. ± is the standard deviation over test sockets (chamfer, "
    f"surface_mm) or over {len(seeds)} draws; one training seed. The paper's best reconstruction, of "
    "its own scans, is 0.00124.",
    shown=tables.with_spread(comparison),
)

# %% tags=["nbval-check-output"]
print("rows:", list(comparison.index))
print("columns:", [column for column in comparison if not column.endswith("_sd")])
print("nothing is nearer than the floor:", comparison.chamfer.idxmin() == "sampling floor")
fractions = comparison[["coverage", "jsd", "one_nn_accuracy"]]
print("fractions in [0, 1]:", bool(((fractions >= 0) & (fractions <= 1)).all(axis=None)))

# %%
study.figure(
    "T4_chart",
    figures.bars_with_baselines(
        comparison,
        {
            "chamfer": "Chamfer distance",
            "surface_mm": "surface error, mm",
            "fidelity": "fidelity",
            "coverage": "coverage",
            "jsd": "JSD",
            "one_nn_accuracy": "1-NN accuracy",
        },
        spread=comparison.filter(like="_sd").rename(columns=lambda c: c.removesuffix("_sd")),
        baselines=["nearest scan", "linear shape model", "sampling floor"],
        better={
            "chamfer": "lower",
            "surface_mm": "lower",
            "fidelity": "lower",
            "coverage": "higher",
            "jsd": "lower",
            "one_nn_accuracy": 0.5,
        },
    ),
    "Table T4 as a chart; baselines in grey.",
)

# %% [markdown]
# ## By kind
#
# TT and TF sockets are not equally hard.

# %%
by_kind = tables.by_kind(test.kinds, errors)
study.table(
    "T4_by_kind",
    by_kind,
    "Reconstruction of unseen sockets by kind: mean Chamfer distance (unit sphere) and mean surface "
    "error in mm; lower is better.",
)

# %% [markdown]
# ## Reconstructions
#
# Five test sockets, from the best to the worst reconstructed: the socket, the reconstruction by the
# model with augmentation and transfer, and that by the linear shape model, coloured by the distance
# to the socket's surface. For the socket itself that distance is what the surface leaves of its
# points.

# %%
name = "augmentation + transfer"
order = np.argsort(errors[name]["surface_mm"])
some = order[np.linspace(0, len(order) - 1, 5).round().astype(int)]
rows = [
    test.points[some],
    reconstructions[name][some],
    reconstructions["linear shape model"][some],
]
study.figure(
    "F5_reconstructions",
    figures.cloud_gallery(
        [cloud for row in rows for cloud in row],
        [f"{test.kinds[i]}" for i in some]
        + [f"AAE {errors[name]['surface_mm'][i]:.1f} mm" for i in some]
        + [f"linear {errors['linear shape model']['surface_mm'][i]:.1f} mm" for i in some],
        color=[
            surface_distance(cloud, test_surfaces[i].mesh())
            for row in rows
            for cloud, i in zip(row, some, strict=True)
        ],
        colorbar_title="mm",
        color_range=(0, 5),
    ),
    "Test sockets (top), reconstructions by the AAE (middle) and by the linear shape model (bottom), "
    "coloured by distance to the socket's surface; mean error below each.",
)

# %% [markdown]
# ## Samples

# %%
study.figure(
    "F6_samples",
    figures.cloud_gallery(generations[name][0][:10]),
    "The first ten random samples of the prior, decoded by the model with augmentation and transfer.",
)

# %% [markdown]
# ## What was learnt
#
# Sentences made from the numbers above, for this source, profile and seed. One training seed can't
# tell small differences from chance.

# %%
both = comparison.loc[name]
floor_row = comparison.loc["sampling floor"]
linear, scan = comparison.loc["linear shape model"], comparison.loc["nearest scan"]
study.conclude(
    "Augmentation alone, Chamfer distance: "
    + tables.change(comparison, "chamfer", "neither", "augmentation")
    + "; transfer alone: "
    + tables.change(comparison, "chamfer", "neither", "transfer")
    + "; both: "
    + tables.change(comparison, "chamfer", "neither", "augmentation + transfer")
    + ".",
    "The model with augmentation and transfer is "
    + ("better" if both.chamfer < scan.chamfer else "no better")
    + f" than the nearest of {len(scans)} scans ({both.chamfer:.5f} against {scan.chamfer:.5f}) and "
    + ("better" if both.chamfer < linear.chamfer else "no better")
    + f" than the linear shape model ({linear.chamfer:.5f}) at reconstructing sockets.",
    f"As a generator, it has fidelity {both.fidelity:.5f}, coverage {both.coverage:.2f} and JSD "
    f"{both.jsd:.3f}; the linear shape model {linear.fidelity:.5f}, "
    f"{linear.coverage:.2f} and {linear.jsd:.3f}.",
    f"The test sockets' own surfaces, sampled evenly, come to fidelity {floor_row.fidelity:.5f} and "
    f"coverage {floor_row.coverage:.2f}"
    + (
        ": nothing that samples surfaces evenly does better."
        if floor_row.coverage > 0.95
        else ": unit spheres follow the density of points, which differs from socket to socket. "
        "Generators that differ by less than that are not told apart by shape."
    ),
    "The linear shape model is told the kind of each socket, and these sockets were themselves drawn "
    "from linear shape models: it is at home here.",
)
