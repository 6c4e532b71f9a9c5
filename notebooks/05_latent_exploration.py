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
# The model describes a socket by a short list of numbers, its *code*. This notebook shows what can
# be done with codes. We draw new sockets, go from one socket to another, change one size of a
# socket, design a socket for given sizes or for a limb, and print its wall.
#
# The model is the one that notebook 3 exported. It was trained on all training sockets of the first
# split. The sockets that we try it on are test sockets of that split, unless we say otherwise. The
# model has not seen them.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")

# %%
import numpy as np

from aaelib import models
from aaelib.apps import design, galleries, limb_scans, limbs, posterior
from aaelib.apps import tables as apps_tables
from aaelib.metrics.inference import bootstrap
from aaelib.models import latent
from aaelib.models.runs import card_of
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
# The prior is the normal distribution that codes should follow. A random code from the prior is
# decoded to a cloud of points. We fit a surface to the cloud, as notebook 1 did to the real
# sockets, but with more smoothing, because decoded points scatter about the wall.

# %%
draws = [design.decoded_surface(aae, code) for code in aae.draw_prior(10, study.seed)]
study.figure(
    "F6_sampled_surfaces",
    galleries.sockets(draws),
    "Ten random samples of the prior, as surfaces. All are drawn at one scale.",
)

# %% [markdown]
# ## Interpolation
#
# We encode two test sockets and decode the codes on the straight line between them. In a good
# latent space each step is a plausible socket. We try two pairs: the shortest and the longest
# transtibial socket, and the shortest transtibial and a transfemoral socket.

# %%
test_kinds = shapes.kinds[split["test"]]
tt, tf = (split["test"][test_kinds == kind] for kind in ("TT", "TF"))
by_length = tt[np.argsort([surfaces[i].measure()["length_mm"] for i in tt])]
short, middle, long, across = by_length[0], by_length[len(tt) // 2], by_length[-1], tf[0]
within_kind = latent.interpolate(codes[short], codes[long], 5)
between_kinds = latent.interpolate(codes[short], codes[across], 5)
study.figure(
    "F7_interpolation",
    galleries.paths(aae, {"TT → TT": within_kind, "TT → TF": between_kinds}),
    "Sockets decoded from the straight line between two codes. Top: from the shortest to the "
    "longest transtibial (TT) test socket. Bottom: from the shortest transtibial to a "
    "transfemoral (TF) one.",
)

# %% tags=["nbval-check-output"]
ends = aae.decode(within_kind[[0, -1]])
print("steps:", len(within_kind))
print("ends are the sockets' own:", np.array_equal(ends, aae.decode(codes[[short, long]])))

# %% [markdown]
# The next figure shows the second pair again, in finer steps. Its slider works in any browser,
# without a running kernel.

# %%
study.figure(
    "F7_interpolation_slider",
    galleries.slider(aae, latent.interpolate(codes[short], codes[across], 9)),
    "From a transtibial (0 %) to a transfemoral test socket (100 %). Drag the slider to decode the "
    "codes in between.",
)

# %% [markdown]
# ## Arithmetic
#
# The paper adds a characteristic to a socket by adding a vector to its code. The vector is the mean
# code of sockets with the characteristic minus the mean code of sockets without it. Here the
# characteristic is being longer than the median. We compute the vector from the transtibial scans.
# Then we add multiples of it to the code of a test socket of median length.

# %%
scan_kinds = shapes.kinds[split["scans"]]
tt_scans = split["scans"][scan_kinds == "TT"]
scan_lengths = np.array([surfaces[i].measure()["length_mm"] for i in tt_scans])
longer = latent.direction(codes[tt_scans], scan_lengths > np.median(scan_lengths))
amounts = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
changed = [design.decoded_surface(aae, codes[middle] + amount * longer) for amount in amounts]
lengths = [surface.measure()["length_mm"] for surface in changed]
study.figure(
    "F8_arithmetic",
    galleries.sockets(
        changed, [f"{a:+.1f} x long: {b:.0f} mm" for a, b in zip(amounts, lengths, strict=True)]
    ),
    "A transtibial test socket (middle) after the vector 'long' was subtracted from its code "
    "(left) and added to it (right). Below each socket: the multiple of the vector, and the "
    "measured length.",
)

# %% [markdown]
# ## One size at a time
#
# Longer sockets are also wider. We look for the smallest change of the code that lengthens a socket
# and keeps its other sizes. The same is done for volume, brim height and two perimeters.
#
# First we compute how each size changes with each number of the code. From these slopes follows the
# smallest step that adds one unit to one size. The length of a step counts in standard deviations
# of the prior. A change of another size by 1 % costs as much as one standard deviation.
#
# Sizes do not depend on the code quite linearly, so the step can miss. We take the step for a
# change by 4 %, decode the new code, fit a surface to it and measure all sizes. We do this at two
# test sockets, one of each kind.

# %%
labelled = codes[split["scans"]], scan_kinds
directions = {
    kind: design.attribute_directions(aae, codes[i], labelled)
    for kind, i in {"TT": middle, "TF": across}.items()
}
alone = apps_tables.directions(directions)
study.table(
    "attribute_directions",
    alone,
    "Directions at one test socket of each kind: value, wanted change and measured change of a "
    "size in mm or mm³, and leak, the largest change of another size as a share of its value (0 "
    "is best). reliability is the R² with which the slopes predict that size of other samples of "
    "the kind (1 is best). In the rows 'kind' it is the cross-validated accuracy of telling the "
    "kinds apart.",
)

# %% [markdown]
# Larger changes need more than one step. `change_size` repeats the calculation until the size is
# met. We ask for four other lengths of the transtibial socket.

# %%
study.figure(
    "F8_length_alone",
    galleries.changed_lengths(aae, codes[middle], (-20, -10, 10, 20)),
    "A transtibial test socket made shorter and longer while its other sizes are held. Colours "
    "show how far the wall moved outwards (red) or inwards (blue), in mm. Below each socket: the "
    "wanted and the measured change of the length.",
)

# %% [markdown]
# ## Made to measure
#
# Now sizes are given and a socket is sought. We measure a test socket: its length, and its
# perimeter every 30 mm. From these numbers alone we search for the most plausible code
# (`fit_sizes`). Many sockets have the same sizes, so the result differs from the measured socket.
#
# The baseline needs no network. The linear shape models of notebook 1 describe a socket by weights
# that follow a normal distribution. We condition this distribution on the same sizes, which gives
# the most plausible weights (posterior shape models, Albrecht et al. 2013). Both methods learnt
# from the same training sockets, and neither is told the kind of the socket. The shape models keep
# all their modes, so they have more numbers than a code.

# %%
told = split["test"][:: max(1, len(split["test"]) // 20)][:20]
shape_models = conditions.load_shape_models(study, "training")
made = apps_tables.made_to_measure(aae, shape_models, [surfaces[i] for i in told])
summary = made.groupby(level="model", sort=False).agg(["mean", "max"]).stack()
study.table(
    "made_to_measure",
    summary.set_index(summary.index.map(", ".join)),
    f"Sockets designed for the sizes of {len(told)} test sockets, by the network and by the shape "
    "model: error of the length (mm), largest error of a perimeter (as a share of it), and mean "
    "distance from the surface of the measured socket (mm); lower is better. distance is that of "
    "the code or the weights from the prior's mean, about 1 for a random draw; it is not a "
    "measure of quality.",
)

# %% [markdown]
# ## What sizes leave open
#
# One answer hides how much is still undecided. Here we tell less of each test socket: its length, and
# its perimeters 60 and 120 mm above the distal end. Many sockets have these sizes. `given_sizes`
# draws 200 of them, as often as the prior has them. From the draws follow intervals for what was not
# told, a map of where the wall is uncertain, and what to measure next.
#
# No model follows a socket exactly. How far each is off, we learn from the validation sockets and add
# to the draws. If the intervals are right, those of 50 % hold the truth for half of the test sockets.
# The shape models, whose posterior has a closed form, are the baseline.

# %%
validation, asked = split["validation"], [surfaces[i] for i in split["test"]]
misfits = apps_tables.misfits(
    aae, shape_models, shapes[validation], [surfaces[i] for i in validation]
)
open_sizes = apps_tables.left_open(aae, shape_models, misfits, asked)
study.table(
    "left_open",
    open_sizes.set_index(open_sizes.index.map(", ".join)),
    f"Intervals for what was not told of {len(asked)} test sockets: the share of sockets, or of "
    "places on the wall, where the truth is inside the intervals of 50, 80 and 95 % (best: as the "
    "level says), and the mean half width of the intervals of 90 % (mm or mm³).",
)

# %% [markdown]
# The map shows where the wall of one of these sockets is uncertain. The alternatives stand for all
# draws: their centres of clusters, the commonest first.

# %%
left = posterior.given_sizes(
    aae, posterior.told(surfaces[middle], apps_tables.TOLD), misfit=misfits["network"]
)
study.figure(
    "F8_left_open",
    galleries.left_open(left),
    "What a length and two perimeters leave open. Left of the first row: the mean of 200 sockets "
    "that have them; colour is half the width of the interval that holds 90 % of their walls. The "
    "others are alternatives; colour is their distance from the mean.",
)
next_best = left.next_measurement(["volume_mm3", "brim_height_mean_mm", 30.0, 90.0, 150.0])
print("What to measure next, and by what share that would reduce the wall's variance:")
for name, share in next_best.items():
    print(f"{share:.0%} {design.label(name)}")

# %% [markdown]
# ## For a limb
#
# A socket must follow a residual limb at a given distance. `fit_limb` searches for the code and the
# position of the socket together. The few numbers of a code cannot follow every detail of a limb.
# Therefore a smooth displacement of the wall follows, and we report the error before and after it.
#
# The limb is a real scan that comes with this repository (ampscan, see `data/README.md`). We ask for
# a gap of 3 mm everywhere, which leaves room for a liner. A prosthetist would not: a socket presses
# in where the limb bears load, and is relieved elsewhere. Jordaan et al. (2025) learn that from 118
# pairs of limbs and sockets, with a median error of 1.24 mm.

# %%
fitted = limbs.fit_limb(aae, limbs.load_limb(limb_scans.EXAMPLE), clearance=3.0)
study.table(
    "limb",
    apps_tables.limb(fitted),
    "Error of the gap between a scanned limb and its socket: absolute difference from the wanted "
    "3 mm, from socket to limb and from limb to socket, each half (mm; lower is better).",
)
study.figure(
    "F8_limb",
    galleries.limb_gaps(fitted),
    "The socket for a limb, as the model gives it (left) and after the displacement (right). "
    "Colours show the gap between limb and socket minus the wanted 3 mm: red is too wide, blue is "
    "too tight.",
)

# %% [markdown]
# ## A wall to print
#
# A printer needs a closed wall of even thickness. `shell` makes one around the inner surface and
# rounds its rim. We check four samples of the prior at three thicknesses.

# %%
walls = apps_tables.walls([design.decoded_surface(aae, c) for c in aae.draw_prior(4, study.seed)])
study.table(
    "walls",
    walls,
    "Walls around four samples of the prior: whether the mesh is closed (watertight), the volume "
    "of material, and near, the share of the outer wall whose thickness is within 0.3 mm of the "
    "wanted one (1 is best). The wall near the rim is left out.",
)

# %% tags=["nbval-check-output"]
print("walls are watertight:", bool(walls.watertight.all()))
print("sizes that change alone:", list(alone["size"].unique()))

# %% [markdown]
# ## A map
#
# A code has too many numbers to plot. We project the codes of all sockets on their first two
# principal components, and random draws of the prior with them. If codes follow the prior, 50, 90
# and 99 % of them lie inside the ellipses.

# %%
(xy, prior_xy), explained = latent.project(codes, aae.draw_prior(500, study.seed))
study.figure(
    "F9_latent_map",
    figures.latent_map(xy, shapes.kinds, shapes.names, prior_xy, explained),
    "Codes of all sockets, training and test, on their first two principal components; colour is "
    "the kind. The ellipses hold 50, 90 and 99 % of the prior.",
)

# %% [markdown]
# ## The explorer
#
# The explorer offers all of this with buttons and sliders. It also saves the socket as a file to
# print. It needs a running kernel: start `make lab` and run this notebook, or start `make explore`,
# which opens the explorer alone. The site has a smaller one that runs in any browser without a kernel
# (`explorer.html`): it goes between sockets, changes sizes and saves the inner surface.

# %% tags=["explorer"]
from aaelib.apps import explorer

explorer.explore()

# %% [markdown]
# ## What was learnt
#
# These sentences are written from the numbers above, for this source and profile.

# %%
effects = (alone.measured / alone.wanted).dropna()
statistics = latent.code_statistics(codes[split["test"]], aae.recipe.prior_std)
# The axis between kinds is computed from scans, the distance along it from test sockets.
axis = latent.direction(codes[split["scans"]], scan_kinds == "TT")
apart = (codes[tt] @ axis).mean() - (codes[tf] @ axis).mean()
within = np.sqrt(np.mean([(codes[kind] @ axis).var(ddof=1) for kind in (tt, tf)]))
network, baseline = (made.loc[name] for name in (apps_tables.NETWORK, apps_tables.SHAPE_MODEL))
gap = bootstrap((network.surface_mm - baseline.surface_mm).to_numpy()[None])
study.conclude(
    f"The codes of {len(split['test'])} test sockets have {statistics['spread']:.2f} times the "
    "spread of the prior (1 is best). Their numbers have correlations of "
    f"{statistics['correlation']:.2f} (root mean square); independent numbers would have "
    f"{1 / np.sqrt(len(split['test'])):.2f} by chance.",
    f"Transtibial and transfemoral test sockets are {apart / within:.1f} standard deviations apart "
    "along the axis between the mean codes of the kinds."
    + (
        " The decoder starts from one shape model for each kind, and the code chooses between "
        "them. So this separation is built in."
        if best.start == "shape models"
        else ""
    ),
    f"The vector 'long' changes the length of a transtibial test socket from {lengths[2]:.0f} mm "
    f"to {lengths[-1]:.0f} mm when it is added, and to {lengths[0]:.0f} mm when it is subtracted.",
    f"A step for a change of one size by 4 % changes that size by {4 * effects.min():.1f} to "
    f"{4 * effects.max():.1f} %. It changes another size by {100 * alone.leak.max():.1f} % at "
    "most.",
    f"Sockets that the network makes to measure miss the length by {network.length_mm.mean():.2f} "
    f"mm on average (shape model: {baseline.length_mm.mean():.2f} mm). The worst perimeter of a "
    f"socket is off by {100 * network.perimeter.mean():.2f} % on average (shape model: "
    f"{100 * baseline.perimeter.mean():.2f} %).",
    f"Sockets of the network are {network.surface_mm.mean():.2f} mm from the measured sockets "
    f"(shape model: {baseline.surface_mm.mean():.2f} mm). The mean difference is {gap.mean:+.2f} "
    f"mm, with a 95 % interval from {gap.low:+.2f} to {gap.high:+.2f} mm over {len(told)} test "
    "sockets: "
    + (
        "the interval includes 0, so neither method is shown to be nearer."
        if gap.low <= 0 <= gap.high
        else f"the {'network' if gap.mean < 0 else 'shape model'} is nearer."
    ),
    f"Told a length and two perimeters, the network's intervals of 80 % hold "
    f"{100 * open_sizes.loc[('network', 'wall'), '80%']:.0f} % of the wall (shape model: "
    f"{100 * open_sizes.loc[('shape model', 'wall'), '80%']:.0f} %). Of what was asked, "
    f"{design.label(next(iter(next_best)))} would tell most about the rest of one socket.",
    f"The gap between the scanned limb and its socket is off by {fitted.model_error:.2f} mm on "
    f"average with the model alone, and by {fitted.gap_error:.2f} mm after a displacement of "
    f"{fitted.displacement:.2f} mm on average.",
)
