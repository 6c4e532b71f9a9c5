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
# # 5. A walk through the latent space
#
# What a code is good for: new sockets, sockets between two others, a characteristic added to a
# socket, and a map. All with the model of all training sockets, as it comes with the repository.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")

# %%
import numpy as np

from aaelib import conditions, explorer, figures, latent, models, training
from aaelib.sockets import SocketSurface
from aaelib.study import Study

study = Study(profile, "05_latent_exploration")
shapes, surfaces, split = study.load_shapes("sockets")
aae = models.load(conditions.weights_path(study, "sockets"))
best = conditions.CONDITIONS[conditions.BEST]
study.source = training.card_of(study.model_path(best.slug, study["seeds"][0]))["source"]
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
# ## Drag a socket from A to B
#
# The slider needs a kernel: run the notebook (`make lab`). Without one, the slider of figure F7 above
# does the same.

# %%
explorer.morph(aae, codes[short], codes[across], labels=("TT", "TF"))

# %% [markdown]
# ## What was learnt

# %%
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
    f"are {apart / within:.1f} standard deviations apart (0 would be no difference), though nobody "
    "told the network the kinds.",
    f"Adding 'long' changes a socket of {heights[2]:.3g} {unit} to {heights[-1]:.3g} {unit}, "
    f"taking it away to {heights[0]:.3g} {unit}.",
)
