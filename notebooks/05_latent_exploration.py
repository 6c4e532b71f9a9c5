# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: reads,-kernelspec,-jupytext.text_representation
#   reads: 03_transfer_learning
# ---

# %% [markdown]
# # 5. A walk through the latent space
#
# What a code is good for: new sockets, sockets between two others, a characteristic added to a
# socket, and a map. All with the model of all training sockets, as it comes with the repository.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")

# %%
import numpy as np
import trimesh

from aaelib import models
from aaelib.apps import design, explorer, limbs
from aaelib.apps import tables as apps_tables
from aaelib.models import latent
from aaelib.models.runs import card_of
from aaelib.shapes.sockets import SocketSurface, vertex_values
from aaelib.study import Study, cards, conditions, figures

study = Study(profile, "05_latent_exploration")
shapes, surfaces, split = study.load_sockets()
aae = models.load(cards.weights_path(study, "sockets"))
best = conditions.CONDITIONS[conditions.BEST]
study.source = card_of(conditions.path_of(study, best))["source"]
codes = aae.encode(shapes.points)

# %% [markdown]
# ## Random samples
#
# Draws of the prior, decoded, as surfaces: the decoded points are smoothed by the same fit that
# turned scans into surfaces.


# %%
def decode_meshes(codes):
    clouds = aae.decode(codes)
    return [SocketSurface.from_points(c, smoothing=0.1).coarse().mesh() for c in clouds]


study.figure(
    "F6_sampled_surfaces",
    figures.mesh_gallery(decode_meshes(aae.draw_prior(10, study.seed))),
    "Ten random samples of the prior as surfaces.",
)

# %% [markdown]
# ## Interpolation
#
# The straight line between the codes of two unseen sockets: between two of one kind, above, and from
# a transtibial to a transfemoral one, below. A good latent space has sockets all along.

# %%
test_kinds = shapes.kinds[split["test"]]
lengths = np.array([surfaces[i].measure()["length_mm"] for i in split["test"]])
tt, tf = (split["test"][test_kinds == kind] for kind in ("TT", "TF"))
short, long = tt[np.argmin(lengths[test_kinds == "TT"])], tt[np.argmax(lengths[test_kinds == "TT"])]
across = tf[0]
steps = 5
within_kind = latent.interpolate(codes[short], codes[long], steps)
between_kinds = latent.interpolate(codes[short], codes[across], steps)
titles = [f"{share:.0%}" for share in np.linspace(0, 1, steps)]
study.figure(
    "F7_interpolation",
    figures.mesh_gallery(
        decode_meshes(np.concatenate([within_kind, between_kinds])),
        [f"TT → TT {t}" for t in titles] + [f"TT → TF {t}" for t in titles],
        columns=steps,
    ),
    "Interpolation between the codes of two sockets: the shortest and the longest transtibial test "
    "socket (top), a transtibial and a transfemoral one (bottom).",
)

# %% tags=["nbval-check-output"]
ends = aae.decode(within_kind[[0, -1]])
print("steps:", len(within_kind))
print("ends are the sockets' own:", np.array_equal(ends, aae.decode(codes[[short, long]])))

# %% [markdown]
# The same walk under a slider that works without a kernel:

# %%
walk = latent.interpolate(codes[short], codes[across], 9)
study.figure(
    "F7_interpolation_slider",
    figures.interpolation(decode_meshes(walk), [f"{s:.0%}" for s in np.linspace(0, 1, 9)]),
    "From a transtibial to a transfemoral socket: drag the slider.",
)

# %% [markdown]
# ## Arithmetic
#
# Mean code of the sockets with a characteristic minus mean code of those without it is a direction.
# Added to a socket's code, it should give the socket the characteristic. Here: being long, learnt
# from the transtibial scans, added to an unseen socket of middle length, and taken away from it.

# %%
scan_lengths = np.array([surfaces[i].measure()["length_mm"] for i in split["scans"]])
is_tt = shapes.kinds[split["scans"]] == "TT"
is_long = scan_lengths[is_tt] > np.median(scan_lengths[is_tt])
longer = latent.direction(codes[split["scans"]][is_tt], is_long)
middle = tt[np.argsort(lengths[test_kinds == "TT"])[len(tt) // 2]]
amounts = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
changed = decode_meshes(codes[middle] + amounts[:, None] * longer)
heights = [float(np.ptp(mesh.vertices[:, 2])) for mesh in changed]
# What was trained on unit spheres has no size of its own.
unit = "mm" if aae.recipe.normalization == "dataset" else "radii"
study.figure(
    "F8_arithmetic",
    figures.mesh_gallery(
        changed,
        [f"{a:+.1f} x long: {h:.3g} {unit}" for a, h in zip(amounts, heights, strict=True)],
        columns=5,
    ),
    "The direction 'long' taken from and added to the code of an unseen transtibial socket, with the "
    "decoded socket's length.",
)

# %% [markdown]
# ## One size at a time
#
# A longer socket is wider too: 'long' is no size but a type. A direction that changes one size and
# holds the others comes from the slopes of all sizes at a socket's code: the smallest step, in the
# prior's standard deviations, that adds one millimetre to one size, where a drift of another by 1 %
# costs as much as a standard deviation. Tried at two unseen sockets, one of each kind.

# %%
ends = {"TT": middle, "TF": across}
directions = {
    kind: design.attribute_directions(
        aae, codes[i], labelled=(codes[split["scans"]], shapes.kinds[split["scans"]])
    )
    for kind, i in ends.items()
}
alone = apps_tables.directions(directions)
study.table(
    "attribute_directions",
    alone,
    "Directions at an unseen socket of each kind. effect: measured over wanted change, of a change by "
    "4 % (1 is best); leak: the largest change of another size by the same step, as a share of it; "
    "reliability: R² with which the direction predicts the size of other sockets of the kind, for "
    "'kind' the cross-validated accuracy of telling the kinds apart.",
)

# %%
start = design.decoded_surface(aae, codes[middle])
steps_mm = (-20, -10, 10, 20)
moved = [
    design.decoded_surface(aae, design.change_size(aae, codes[middle], "length_mm", by))
    for by in steps_mm
]
study.figure(
    "F8_length_alone",
    figures.mesh_gallery(
        [surface.coarse().mesh() for surface in moved],
        [
            f"{by:+d} mm asked: {s.measure()['length_mm'] - start.measure()['length_mm']:+.1f} mm"
            for by, s in zip(steps_mm, moved, strict=True)
        ],
        columns=4,
        intensities=[explorer.departure(s.coarse(), start) for s in moved],
        colorbar_title="mm",
    ),
    "An unseen transtibial socket made shorter and longer, its other sizes held: how far the wall "
    "moves out (red) or in (blue).",
)

# %% [markdown]
# ## Made to measure
#
# The other way round: sizes are given, and the most plausible socket that has them is sought. Here
# from unseen sockets, of each of which only length and perimeters every 30 mm are told.

# %%
told = split["test"][:: max(1, len(split["test"]) // 20)][:20]
made = apps_tables.made_to_measure(aae, [surfaces[i] for i in told])
study.table(
    "made_to_measure",
    made.describe().loc[["count", "mean", "max"]],
    "Sockets designed for the sizes of unseen ones: by how much length and the worst of the "
    "perimeters are missed; mean distance of the wall from that of the socket whose sizes they are, "
    "where sizes leave it open; and the code's length over that of a usual draw (1).",
)

# %% [markdown]
# ## For a limb
#
# Code and place of a socket are found together, so that its wall follows a limb at a distance. In
# place of a limb that anyone could share, the surface of an unseen socket, turned and shifted; 3 mm
# are to be left for a liner. What 16 numbers cannot follow, a smooth displacement does; both errors are told.

# %%
limb = surfaces[middle].mesh()
limb.apply_transform(trimesh.transformations.rotation_matrix(0.7, [0, 0, 1], [5, -8, 20]))
fitted = limbs.fit_limb(aae, limb, clearance=3.0, kind="TT")
study.figure(
    "F8_limb",
    figures.mesh_gallery(
        [fitted.model_surface.mesh(), fitted.surface.mesh()],
        [
            f"of the model alone: {fitted.model_error:.2f} mm off",
            f"with displacement: {fitted.gap_error:.2f} mm off",
        ],
        columns=2,
        intensities=[
            np.nan_to_num(vertex_values(gap) - 3.0) for gap in (fitted.model_gap, fitted.gap)
        ],
        colorbar_title="mm",
    ),
    "The gap between limb and socket beyond the 3 mm that were asked for.",
)

# %% [markdown]
# ## A wall to print
#
# A socket goes to the printer as a closed wall of even thickness with a rounded rim.

# %%
walls = apps_tables.walls([design.decoded_surface(aae, c) for c in aae.draw_prior(4, study.seed)])
study.table(
    "walls",
    walls,
    "Walls around four samples of the prior: whether they are closed, their volume, and the share of "
    "the outer wall that is within 0.3 mm of the thickness asked for, away from the rim.",
)

# %% tags=["nbval-check-output"]
print("walls are watertight:", bool(walls.watertight.all()))
print("sizes that change alone:", list(alone["size"].unique()))

# %% [markdown]
# ## A map
#
# Codes of all sockets in the plane of their two largest principal components, over draws of the
# prior.

# %%
(xy, prior_xy), explained = latent.project(codes, aae.draw_prior(500, study.seed))
study.figure(
    "F9_latent_map",
    figures.latent_map(xy, shapes.kinds, shapes.names, prior_xy, explained),
    "Codes of all sockets by kind, with ellipses that hold 50, 90 and 99 % of the prior.",
)

# %% [markdown]
# ## The explorer
#
# Drag between two sockets, change one size, draw new ones, ask for sizes or for a socket that fits a
# limb, and take a file home. It needs a kernel: run the notebook (`make lab`), or `make explore`, which
# serves this cell as a page of its own, with the model and the sockets that come with the repository
# where there are no others. Without a kernel, the slider of figure F7 above can be dragged.

# %% tags=["explorer"]
from aaelib.apps import explorer

explorer.explore()

# %% [markdown]
# ## What was learnt

# %%
effects = alone.effect.dropna()
statistics = latent.code_statistics(codes[split["test"]], aae.recipe.prior_std)
# Along the direction from one kind to the other that the scans give, on sockets of the test.
kind = latent.direction(codes[split["scans"]], is_tt)
along = {name: codes[index] @ kind for name, index in (("TT", tt), ("TF", tf))}
apart = along["TT"].mean() - along["TF"].mean()
within = np.sqrt(np.mean([values.var(ddof=1) for values in along.values()]))
study.conclude(
    f"Codes of unseen sockets have {statistics['spread']:.2f} times the prior's spread (1 is "
    f"wanted) and correlations of {statistics['correlation']:.2f} (0 is wanted; "
    f"{1 / np.sqrt(len(split['test'])):.2f} is what chance gives).",
    f"Along the direction from transfemoral to transtibial scans, unseen sockets of the two kinds "
    f"are {apart / within:.1f} standard deviations apart (0 would be no difference). A decoder that "
    "starts as shape models was told the kinds, which one number of the code chooses.",
    f"Moved by 4 % along the direction of one size alone, sockets change it by {effects.min():.2f} to "
    f"{effects.max():.2f} times as much as asked, and another size by {100 * alone.leak.max():.1f} % at "
    "most.",
    f"Sockets made for the sizes of {len(made)} unseen ones miss their length by "
    f"{made.length_mm.max():.1f} mm and a perimeter by {100 * made.perimeter.max():.1f} % at most.",
    f"A socket for a limb keeps the gap within {fitted.gap_error:.2f} mm of what was asked, on average; "
    f"the model alone within {fitted.model_error:.2f} mm.",
    f"Adding 'long' changes a socket of {heights[2]:.3g} {unit} to {heights[-1]:.3g} {unit}, "
    f"taking it away to {heights[0]:.3g} {unit}.",
)
