# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: reads,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # 1. Sockets, and how to have more of them
#
# A prosthetic socket is the cup that joins a residual limb to a prosthesis: below the knee
# (transtibial, **TT**) or above it (transfemoral, **TF**). The paper that this notebook accompanies
# learns a generative model of sockets from 51 scans. That is very few. A *statistical shape model*
# (SSM), the mean socket and its main ways to vary, can draw as many more as one likes. This notebook
# looks at the sockets, sets aside those that stand for the 51 scans, fits the shape model to them,
# and measures what it is worth.
#
# The scans were never published. The public SocketSSM sockets stand in their place: they were
# themselves drawn by their publishers from shape models of 30 TT and 21 TF scans
# ([Costa et al. 2021](https://www.scitepress.org/Papers/2021/103398/)). Where they are not at hand,
# sockets are drawn from a small shape model that comes with this repository. Every table and figure
# says which source it shows.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")

# %%
import numpy as np

from aaelib.shapes import sockets, sources
from aaelib.shapes.shape_model import ShapeModel
from aaelib.study import Study, baselines, conditions, figures, tables

study = Study(profile, "01_augmentation")

# %% [markdown]
# ## The sockets
#
# Each is a cloud of 2048 points in millimetres, its long axis along z, the closed end down. A fixed
# seed draws 30 TT and 21 TF sockets as "the scans". They are all that a condition without
# augmentation may train on, and all that the augmenting shape model may see. The rest is shared
# between validation, on which epochs are selected, test, on which models are compared, and more
# sockets to train on, for models that may use all but validation and test.

# %%
shapes = sources.load_sockets(limit=study["sockets"]["limit"])
split = study.split(shapes)
shapes.source

# %% tags=["nbval-check-output"]
parts = np.concatenate(list(split.values()))
print("points of a cloud:", shapes.points.shape[1:])
print("scans:", {kind: int(sum(shapes.kinds[split["scans"]] == kind)) for kind in ("TT", "TF")})
print("parts disjoint and complete:", sorted(parts) == list(range(len(shapes))))

# %% [markdown]
# ## From points to surfaces
#
# A shape model needs correspondence: the same place on every socket. A socket is star-shaped around
# a point on its long axis, so its wall is a radius in each direction up to the brim, on a grid of 72
# angles and 48 levels. Node (i, j) is the same place on all of them.

# %%
surfaces = sockets.fit_surfaces(shapes.points)
study.save_sockets(shapes, surfaces)
study.table("splits", tables.splits(shapes, split))
study.table(
    "T1_data",
    tables.sockets(shapes, surfaces, split),
    "The sockets by kind and part: mean, shortest and longest length, mean perimeter at the lowest "
    "point of the brim, mean volume of the cavity; surface_fit_mm: mean distance of a cloud's points "
    "to the surface that was fitted to it.",
)

# %% [markdown]
# ## The shape model
#
# Principal component analysis of the corresponding grids, one model a kind, fitted to the scans
# alone. A mode is a way to vary; its weight is given in standard deviations of the scans. The figure
# shows each kind's first two modes at -2, 0 and +2 standard deviations, coloured by how far the
# wall moves outwards (red) or inwards (blue).

# %%
scans = {kind: [i for i in split["scans"] if shapes.kinds[i] == kind] for kind in sources.KINDS}
models = {kind: ShapeModel.fit([surfaces[i] for i in index]) for kind, index in scans.items()}

# %%
modes, labels = [], []
for kind, model in models.items():
    for k, share in enumerate(model.variance_fractions_[:2]):
        weights = np.eye(model.n_modes)[k]
        modes.append([model.surface(s * weights).coarse().mesh() for s in (-2, 0, 2)])
        labels.append(f"{kind} mode {k + 1} ({share:.0%})")
study.figure(
    "F2_modes_of_variation",
    figures.modes_of_variation(modes, labels),
    "Mean socket and first two modes of variation of each kind, with their share of the variance.",
)

# %% [markdown]
# Three figures tell what a shape model is worth. *Compactness* is the share of the variance that the
# first modes hold. *Generalization* is the error on a socket that was left out of the fit.
# *Specificity* is the distance of what the model draws to the nearest scan (Davies 2002). The two
# errors are mean distances of corresponding grid nodes, in mm.
#
# Dotted lines and columns are what the publishers report for their models. Theirs were models of
# **raw scans**, registered by other means; ours are models of **sockets drawn from such models**,
# smooth by construction, so that smaller errors here are no improvement on theirs.

# %%
fewest = min(model.n_modes for model in models.values()) - 1  # of a model that left one out
counts = [k for k in (1, 2, 3, 5, 8, 12, 16, 19) if k <= fewest]
curves = {
    kind: tables.shape_model_curves(
        model,
        [surfaces[i] for i in scans[kind]],
        counts,
        study["shape_model"]["samples"],
        study.seed,
    )
    for kind, model in models.items()
}
study.figure(
    "F2_shape_model",
    figures.compactness(curves, tables.PUBLISHED),
    "Compactness, generalization and specificity by number of modes; dotted: Costa et al. (2021), "
    "of raw scans.",
)

# %%
unseen = {}
for kind in models:
    index = [i for i in split["test"] if shapes.kinds[i] == kind]
    unseen[kind] = (shapes.points[index], [surfaces[i] for i in index])
summary = tables.shape_models(curves, models, unseen)
study.table(
    "T2_shape_model",
    summary,
    "The shape models of the scans; lower is better but for the modes. Generalization and "
    "specificity: mean node distance with that many modes, whose share of the variance is the "
    "compactness; published: Costa et al. (2021), of raw scans. Unseen: mean distance of the points of a test "
    "socket to the nearest surface of the model. ± is the standard deviation over sockets or draws.",
)

# %% [markdown]
# ## What corresponds, seen by the points
#
# Angle and arc length are one way to say what corresponds on two sockets. The clouds know another:
# their points are denser in some places, as on one template that was stretched differently for
# each socket. Places on each surface are assigned to the points of its cloud by optimal transport,
# and the nodes of the grids slide along their surfaces to where the assignment says. A model of the
# slid grids draws clouds that are dense where real ones are. It is fitted to each set of sockets
# that notebook 3 trains on: the scans, all sockets but validation and test, and, where the profile
# asks for it, fewer scans.

# %%
conditions.fit_shape_models(study)

# %%
transported_models = conditions.load_shape_models(study)
drawn_sockets = {
    "angle and arc length": baselines.linear_samples(
        models, shapes.kinds[split["validation"]], seed=study.seed
    ),
    "optimal transport": np.concatenate(
        [
            model.sample_clouds(sum(shapes.kinds[split["validation"]] == kind), seed=study.seed)
            for kind, model in transported_models.items()
        ]
    ),
}
correspondence = tables.generators(drawn_sockets, shapes.points[split["validation"]])
study.table(
    "correspondence",
    correspondence,
    "Sockets drawn from shape models of the scans, as many as there are validation sockets, against "
    "those: fidelity, JSD: lower is better; coverage: higher; 1-NN accuracy: 0.5 is best.",
)

# %% [markdown]
# ## Augmented sockets
#
# Each weight is drawn from a normal distribution cut off at 2.5 standard deviations, the modes
# independently of one another. Training (notebook 3) draws fresh ones for every batch.

# %%
shown = [scans["TT"][0], scans["TT"][1], scans["TF"][0], scans["TF"][1]]
drawn = [cloud for m in transported_models.values() for cloud in m.sample_clouds(2)]
study.figure(
    "F2_augmented_sockets",
    figures.cloud_gallery(
        [*shapes.points[shown], *drawn],
        [f"{kind} {what}" for what in ("scan", "drawn") for kind in ("TT", "TT", "TF", "TF")],
        columns=4,
        color=[figures.KIND_COLORS[kind] for kind in ("TT", "TT", "TF", "TF")] * 2,
    ),
    "Above: sockets that stand for scans. Below: sockets drawn from the shape model of the scans.",
)

# %% [markdown]
# ## What was learnt

# %%
study.conclude(
    *(
        f"**{kind}**: {row.modes_for_95_percent:.0f} of {models[kind].n_modes} modes hold 95 % of "
        f"the variance of {row.sockets:.0f} scans; an unseen socket is followed within "
        f"{row.unseen_surface_mm:.2f} mm on average, so the shape model is a strong baseline."
        for kind, row in summary.iterrows()
    ),
    "Sockets drawn with the correspondence of optimal transport have a JSD of "
    f"{correspondence.jsd['optimal transport']:.3f} from validation sockets and cover "
    f"{correspondence.coverage['optimal transport']:.2f} of them; with that of angle and arc length "
    f"{correspondence.jsd['angle and arc length']:.3f} and "
    f"{correspondence.coverage['angle and arc length']:.2f}.",
)
