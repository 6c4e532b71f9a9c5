# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: reads,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # 1. Sockets, and a shape model that draws more of them
#
# A prosthetic socket is the cup that joins a residual limb to a prosthesis. After an amputation
# below the knee it is transtibial (**TT**), above the knee transfemoral (**TF**). The paper learns
# a generative model of sockets from 51 scans. These are few, so it adds *augmentation*: a
# statistical shape model (SSM) of the scans draws as many more sockets as training needs.
#
# This notebook looks at the sockets and sets aside those that stand for the 51 scans. Then it fits
# the shape model to them and measures how good it is.
#
# The scans were never published. The public SocketSSM sockets take their place. Their publishers
# drew them from shape models of 30 TT and 21 TF scans
# ([Costa et al. 2021](https://www.scitepress.org/Papers/2021/103398/)). Where there is no copy of
# them, sockets are drawn from a small shape model that comes with this repository. Every table and
# figure names its source.

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
# Each socket is a cloud of 2048 points in millimetres. Its long axis is z, and its closed end is at
# the bottom. A *split* assigns the sockets of each kind to four parts, at random but by a seed:
#
# - **scans**: 30 TT and 21 TF sockets, which stand for the paper's scans. A condition without
#   augmentation trains on them alone, and the augmenting shape model sees nothing else.
# - **more**: further sockets, for models that may train on all but validation and test.
# - **validation**: selects the best epoch of a training run.
# - **test**: compares the finished models.
#
# The study trains and tests its models anew on each split of its profile. This notebook shows the
# first split.

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
# A shape model needs correspondence: it must know which places on two sockets are the same place. A
# socket is star-shaped around a point on its long axis: seen from there, each direction meets the
# wall once. So the wall is a radius in each direction, up to the brim, on a grid of 72 angles and
# 48 levels. Node (i, j) of the grid is taken as the same place on every socket.

# %%
surfaces = sockets.fit_surfaces(shapes.points)
study.save_sockets(shapes, surfaces)
study.table("splits", tables.splits(shapes, split))
study.table(
    "T1_data",
    tables.sockets(shapes, surfaces, split),
    "Sockets of the first split by kind and part: mean, smallest and largest length, mean "
    "perimeter at the lowest point of the brim, and mean volume of the cavity. surface_fit_mm is "
    "the mean distance of a cloud's points to the surface that was fitted to it.",
)

# %% [markdown]
# ## The shape model
#
# Principal component analysis of the grids gives a mean socket and its *modes*, the main ways to
# vary. There is one model for each kind, fitted to the scans alone. The weight of a mode is given
# in standard deviations of the scans.

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
    "The mean socket of each kind and its first two modes, at -2, 0 and +2 standard deviations; "
    "the labels say how much of the variance of the scans a mode holds. Colour is the displacement "
    "of the wall: outwards is red, inwards is blue.",
)

# %% [markdown]
# ## How good is the shape model?
#
# Three measures tell (Davies 2002), each by the number of modes:
#
# - *Compactness* is the share of the variance that the first modes hold.
# - *Generalization* is the error on a socket that was left out of the fit.
# - *Specificity* is the distance of a drawn socket to the nearest scan.
#
# The two errors are mean distances between corresponding grid nodes, in mm.
#
# The publishers report a generalization of 6.8 ± 1.8 mm (TT) and 10.5 ± 1.6 mm (TF), and a
# specificity of 9.7 ± 0.6 mm and 9.8 ± 0.2 mm. The numbers below are smaller, but that is **no
# improvement**, because the data are not the same. The published models were fitted to raw scans,
# which were registered by other means. The models here are fitted to sockets that were drawn from
# such models. Those are smooth by construction and vary in no other ways than the published models
# do, so a model of some of them follows the others closely.

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
    "Compactness, generalization and specificity of the shape models, by number of modes. Dotted "
    "lines are the published errors of models of raw scans (Costa et al. 2021); they are not "
    "comparable, see above.",
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
    "The shape models of the scans: compactness, generalization and specificity with that many "
    "modes, beside the published errors (Costa et al. 2021); unseen_surface_mm is the mean "
    "distance of a test socket's points to the nearest surface of the model. Errors are in mm, "
    "lower is better, and ± is the standard deviation over sockets or draws. Published errors are "
    "larger because they are of raw scans registered by other means; the sockets here were drawn "
    "from such models and are smooth by construction.",
)

# %% [markdown]
# ## Correspondence from the density of points
#
# The grid takes places with the same angle and arc length as corresponding. The clouds suggest
# another correspondence. Their points are denser in some places, like those of one template that
# was stretched differently for each socket.
#
# To use this, evenly spread places on each surface are assigned to the points of its cloud by
# optimal transport. The grid nodes then slide along the surface to where the assignment says. A
# shape model of these grids draws clouds that are dense where real ones are.
#
# For every split, such models are fitted to each set of sockets that notebook 3 trains on: the
# scans, all sockets but validation and test, and, where the profile has that ablation, fewer scans.

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
    "Sockets drawn from shape models of the scans with either correspondence, beside as many "
    "validation sockets. Fidelity, JSD: lower is better; coverage: higher; 1-NN accuracy: 0.5 is "
    "best. Notebook 4 says what they measure.",
)

# %% [markdown]
# ## Augmented sockets
#
# The weight of each mode is drawn from a normal distribution that is cut off at 2.5 standard
# deviations. The modes are independent of one another. Training (notebook 3) draws new sockets for
# every batch.

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
    "Top: sockets that stand for scans. Bottom: sockets drawn from the shape models of the scans. "
    "Colour is the kind.",
)

# %% [markdown]
# ## What was learnt

# %%
jsd, coverage = correspondence.jsd, correspondence.coverage
study.conclude(
    *(
        f"**{kind}**: {row.modes_for_95_percent:.0f} of {models[kind].n_modes} modes hold 95 % of "
        f"the variance of {row.sockets:.0f} scans. The model follows an unseen socket within "
        f"{row.unseen_surface_mm:.2f} mm on average, which is the mark for a network to beat. Its "
        f"generalization is {row.generalization_mm:.1f} mm; the published "
        f"{row.published_generalization_mm:.1f} mm is of raw scans, so the two do not compare."
        for kind, row in summary.iterrows()
    ),
    "Sockets drawn with the correspondence of optimal transport have a JSD of "
    f"{jsd['optimal transport']:.3f} from validation sockets, and {jsd['angle and arc length']:.3f} "
    "with that of angle and arc length. They cover "
    f"{coverage['optimal transport']:.2f} and {coverage['angle and arc length']:.2f} of them. These "
    "metrics also reward the density of points; notebook 4 adds some that do not.",
)
