# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: reads,-kernelspec,-jupytext.text_representation
#   reads: 03_transfer_learning
# ---

# %% [markdown]
# # 4. What augmentation and transfer bring
#
# The models of notebook 3 on sockets that neither they nor the selection of their epochs have seen,
# beside what a sceptic would use instead: the nearest real socket, linear shape models, the same
# network before training, and the floor that the sampling of points sets.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from aaelib import models
from aaelib.models.runs import card_of
from aaelib.shapes import SocketSurface
from aaelib.study import Study, baselines, cards, conditions, evaluation, figures, tables
from aaelib.study.baselines import Known
from aaelib.study.conditions import BEST, CONDITIONS

study = Study(profile, "04_evaluation")
shapes, surfaces, split = study.load_shapes("sockets")
first_seed = study["seeds"][0]
both = CONDITIONS["augmentation + transfer"]
study.source = card_of(study.model_path(both.slug, first_seed))["source"]
sets, code_size = conditions.socket_sets(study), conditions.study_recipe(study).code_size
unseen, draw_seeds = conditions.unseen_sockets(study), conditions.draw_seeds(study)

# %% [markdown]
# ## Models and baselines
#
# *Reconstruction*: each test socket is encoded and decoded, and compared with its own reconstruction
# (the original code takes the nearest of all). *Generation*: draws of three times as many samples as
# there are test sockets.
#
# Baselines: the nearest real socket, scaled to the test socket's size; the nearest surface of a
# linear shape model with as many numbers as a code has (k), or with all its modes, which is told the
# kind of socket. As generators: real sockets drawn at random, and draws of the linear models, evenly
# sampled. *Shape models before training* is the network of the last condition as it starts: linear
# within each kind, with the density of the published points, its codes refined. It is the strongest
# linear model here, and what training adds is beyond it. The *sampling floor* is the test sockets' own surfaces, sampled anew and evenly.
# Published clouds are not even, so that a cloud with their density can come below it.

# %%
before = "shape models before training"
evaluated = conditions.evaluate_all(study, unseen)
evaluated[before] = [
    conditions.evaluate(study, unseen, CONDITIONS[BEST], seed, trained=False)
    for seed in study["seeds"]
]

# %%
known = {name: Known(shapes[index], [surfaces[i] for i in index]) for name, index in sets.items()}
contenders = baselines.of_study(unseen, known["scans"], known["training"], code_size, draw_seeds)
evaluated |= evaluation.compare(unseen, contenders)

# %% [markdown]
# ## The table
#
# *Chamfer*: mean squared distance to the nearest point, both directions summed, in the unit sphere
# of the socket. *Surface*: distance of the reconstruction's points to the socket's surface, in mm.
# *Fidelity* (minimum matching distance): Chamfer distance from each test socket to the nearest
# sample. *Coverage*: share of test sockets that are the nearest of some sample. *JSD*: divergence of
# where points lie. *1-NN*: accuracy of telling samples from test sockets by their nearest neighbour,
# as many of either; 0.5 is best, below it samples are copies of test sockets.
#
# For generation each cloud is put in a unit sphere of its own, as in the paper: around the centroid
# of its points. Where points are not evenly spread, as on the published sockets, their centroid is
# some millimetres from that of an even sample of the same surface. This is in all generative
# columns; the row of the sampling floor shows how much.

# %%
compared = [*CONDITIONS, before]
comparison = pd.concat(
    [
        tables.summary({name: evaluated[name] for name in compared}),
        tables.summary({name: evaluated[name] for name in baselines.NAMES}, over="draws"),
    ]
)
n_seeds = len(study["seeds"])
study.table(
    "T4_augmentation_transfer",
    comparison,
    f"Reconstruction of {len(unseen)} unseen sockets; generation in {len(draw_seeds)} draws of "
    f"{baselines.DRAWN_PER_SOCKET * len(unseen)}. Learnt from {len(sets['scans'])} scans, but "
    f"'{BEST}', '{before}', '{baselines.NEAREST}' and '{baselines.LINEAR_ALL_SOCKETS}' from all "
    f"{len(sets['training'])}; k = {code_size}, the size of a code. chamfer, surface_mm, fidelity, "
    "jsd: lower is better; coverage: higher; one_nn_accuracy: 0.5 is best. ± is the standard "
    f"deviation over training seeds ({n_seeds}; none for one), and for the baselines (from "
    f"'{baselines.NEAREST_SCAN}' on) over the draws. The paper's best reconstruction, of its own "
    "scans, is 0.00124.",
    shown=tables.with_spread(comparison),
)

# %% tags=["nbval-check-output"]
print("rows:", list(comparison.index))
print("columns:", [column for column in comparison if not column.endswith("_sd")])
fractions = comparison[["coverage", "jsd", "one_nn_accuracy"]]
print("fractions in [0, 1]:", bool(((fractions >= 0) & (fractions <= 1)).all(axis=None)))

# %%
study.figure(
    "T4_chart",
    figures.bars_with_baselines(comparison, evaluation.METRICS, [before, *baselines.NAMES]),
    "Table T4 as a chart; baselines in grey.",
)

# %% [markdown]
# ## Claims
#
# The paper's claims and this study's, each a difference between two rows, second minus first, with
# an interval of 95 %: for errors of reconstruction over test sockets and seeds (the pigeonhole
# bootstrap), for generation over seeds (with one seed there is none). A claim is supported, or not,
# where the whole interval is on one side of zero. A baseline has no seeds; it is compared with each
# seed of the model.

# %%
reconstruction, generation = ["chamfer", "surface_mm"], ["fidelity", "coverage", "jsd"]
metrics = [*reconstruction, *generation, "one_nn_accuracy"]
claims = tables.claims(
    evaluated,
    [
        ("augmentation helps, alone", "neither", "augmentation", metrics),
        ("augmentation helps, with transfer", "transfer", both.name, metrics),
        ("transfer helps, alone", "neither", "transfer", metrics),
        ("transfer helps, with augmentation", "augmentation", both.name, metrics),
        ("both help", "neither", both.name, metrics),
        ("beats the original recipe", "original recipe", "augmentation", metrics),
        ("a shape-model start is better", both.name, "shape-model start", metrics),
        ("training adds to the start", before, BEST, metrics),
        ("scans: beats linear", baselines.LINEAR, "shape-model start", metrics),
        ("all sockets: beats linear", baselines.LINEAR_ALL_SOCKETS, BEST, metrics),
    ],
)
study.table(
    "T4_claims",
    claims,
    "Differences (mean, and interval from low to high) in the unit of the metric. Coverage is better "
    "where it is higher, all else where it is lower. 'Both are better than either' is 'augmentation "
    "helps, with transfer' and 'transfer helps, with augmentation' together. 'scans' is the "
    f"shape-model start and 'all sockets' the model of {len(sets['training'])} sockets, each against "
    f"the linear shape model of the same sockets with k = {code_size} numbers, sampled evenly. The "
    "original recipe has the same augmentation and about the same time, but no refinement of codes. "
    "Intervals are over training seeds and test sockets; all seeds share one draw of the scans and one "
    "pre-training. With three seeds that differ much they are too short (simulated coverage down to "
    f"0.8), and of the {len(claims)} rows one in twenty would look like a difference where there is none.",
)
study.figure(
    "T4_claims",
    figures.differences(claims),
    "Table T4_claims: the mean difference of each claim and its 95 % interval.",
)

# %% tags=["nbval-check-output"]
print("claims:", *dict.fromkeys(claims.index), sep="\n  ")
answers = {"supported", "not supported", "not decidable here"}
print("each has an answer:", set(claims.answer) <= answers)

# %% [markdown]
# ## One thing at a time
#
# How many real sockets a model learns from; whether codes are refined (notebook 3) or the encoder's
# own; and, where the profile trains these ablations, layers of the encoder that keep their
# pre-trained weights, the size of the code, and fewer scans.

# %%
varied = conditions.ablations(study)
ablations = tables.summary(conditions.ablated(study, evaluated))
absent = " and ".join(each for each in ("frozen layers", "code size") if each not in varied)
study.table(
    "T4_ablations",
    ablations,
    "Frozen layers: of the model with augmentation and transfer. Code size, sockets: of the "
    f"shape-model start. Refinement: of '{BEST}'; it does not touch generation. "
    + (f"The profile '{profile}' does not vary {absent}; 'study' does. " if absent else "")
    + "Columns as in table T4. ± is the standard deviation over training seeds: "
    f"{n_seeds} for rows that are in T4 too, {len(study['ablation_seeds'])} for the others.",
    shown=tables.with_spread(ablations),
)

# %%
curve = tables.learning_curve(
    unseen,
    varied["sockets"],
    evaluated,
    {
        n: baselines.learnt_from(unseen, known[condition.sockets], code_size)
        for n, condition in varied["sockets"].items()
    },
)
study.table("T4_learning_curve", curve.set_index("model"))
study.figure(
    "T4_learning_curve",
    figures.learning_curve(
        curve,
        "sockets",
        "model",
        "chamfer",
        "Chamfer distance, unseen sockets",
        marks={"sampling floor": comparison.chamfer[baselines.FLOOR]},
    ),
    "Reconstruction of unseen sockets by how many real sockets were learnt from "
    f"({', '.join(map(str, varied['sockets']))}): the AAE (shape-model start), the linear shape model "
    "of the same sockets with as many numbers, the nearest of them. Bars are standard deviations over "
    "training seeds, where there are several.",
)

# %% [markdown]
# ## By kind
#
# TT and TF sockets are not equally hard.

# %%
by_kind = tables.by_kind(
    unseen.kinds, {name: evaluated[name] for name in [*compared, *baselines.NAMES]}
)
study.table(
    "T4_by_kind",
    by_kind,
    "Reconstruction of unseen sockets by kind: mean Chamfer distance (unit sphere) and mean surface "
    "error in mm, over training seeds too; lower is better.",
)

# %% [markdown]
# ## Reconstructions
#
# From here on the model to take away: of the runs with all training sockets the one that notebook 3
# chose by validation sockets, in half precision. Five test sockets, from the best to the worst reconstructed: the socket, its
# reconstruction, and that by the linear shape model of the same sockets and size, coloured by the
# distance to the socket's surface. For the socket itself that distance is what the surface leaves of
# its points.

# %%
aae = models.load(cards.weights_path(study, "sockets"))
taken_away = evaluation.measure(aae, unseen, draw_seeds)
reconstructed, samples = taken_away["reconstruction"], taken_away["samples"]
linear = contenders[baselines.LINEAR_ALL_SOCKETS][0]
errors = {
    "AAE": taken_away["surface_mm"],
    "linear": evaluated[baselines.LINEAR_ALL_SOCKETS][0]["surface_mm"],
}
order = np.argsort(errors["AAE"])
some = order[np.linspace(0, len(order) - 1, 5).round().astype(int)]
study.figure(
    "F5_reconstructions",
    figures.cloud_gallery(
        [*unseen.points[some], *reconstructed[some], *linear[some]],
        [str(kind) for kind in unseen.kinds[some]]
        + [f"{name} {each[i]:.1f} mm" for name, each in errors.items() for i in some],
        color=[
            *unseen.point_errors(unseen.points[some], some),
            *unseen.point_errors(reconstructed[some], some),
            *unseen.point_errors(linear[some], some),
        ],
        colorbar_title="mm",
        color_range=(0, 5),
    ),
    "Test sockets (top), reconstructions by the AAE (middle) and by the linear shape model (bottom), "
    "coloured by distance to the socket's surface; mean error below each.",
)

# %% [markdown]
# ## Where the errors are
#
# A surface is fitted to each reconstruction; its distance from the test socket's surface along the
# normal, averaged over the sockets of a kind and shown on their mean.

# %%
fitted = baselines.fit_shape_models(*known["training"])
maps = tables.error_maps(
    unseen,
    {"AAE": reconstructed, "linear": linear},
    {kind: SocketSurface(fitted[kind].mean_) for kind in ("TT", "TF")},
)
study.figure(
    "F5_error_maps",
    figures.error_maps(*maps),
    "Mean absolute error of reconstruction at each place, unseen sockets, on the mean socket of each "
    "kind: the AAE and the linear shape model of the same sockets and size. Below each its mean.",
)

# %% [markdown]
# ## The worst cases
#
# A mean hides what a single patient would get.

# %%
worst = order[::-1][:3]
study.figure(
    "F5_worst",
    figures.cloud_gallery(
        [*unseen.points[worst], *reconstructed[worst]],
        [str(kind) for kind in unseen.kinds[worst]]
        + [f"AAE {errors['AAE'][i]:.1f}, linear {errors['linear'][i]:.1f} mm" for i in worst],
        columns=3,
        color=[
            *unseen.point_errors(unseen.points[worst], worst),
            *unseen.point_errors(reconstructed[worst], worst),
        ],
        colorbar_title="mm",
        color_range=(0, 5),
    ),
    "The three test sockets that the AAE reconstructs worst (top) and their reconstructions (bottom), "
    "coloured by distance to the socket's surface; mean error of the AAE and of the linear shape "
    "model below.",
)

# %% [markdown]
# ## Samples

# %%
study.figure(
    "F6_samples",
    figures.cloud_gallery(samples[:10]),
    "The first ten random samples of the prior, decoded by the model of all training sockets.",
)

# %% [markdown]
# ## Codes and the prior
#
# A sample is a socket only where codes of sockets fill the prior: mean 0, spread 1 and no correlation,
# in units of the prior's standard deviation. *energy* is the distance of the two distributions and
# *energy_p* its p-value: a small one says that they are told apart.

# %%
of_both = evaluated[both.name][0]
prior = tables.prior_checks(
    {
        f"{BEST}, encoder's": aae.encode(unseen.points, refinement_steps=0),
        f"{BEST}, refined": taken_away["codes"],
        f"{both.name}, encoder's": of_both["unrefined_codes"],
        f"{both.name}, refined": of_both["codes"],
    },
    aae.recipe.prior_std,
)
study.table(
    "T4_prior_check",
    prior,
    f"Codes of {len(unseen)} unseen sockets beside the prior, the encoder's own and refined: of the "
    f"model to take away, and of '{both.name}' with the first seed. Of as many draws of the prior: correlation about {len(unseen) ** -0.5:.2f}, skewness "
    f"{2 * len(unseen) ** -0.5:.2f}, excess kurtosis {4 * len(unseen) ** -0.5:.2f}, by chance alone.",
)

# %% [markdown]
# ## Is it memory?
#
# Samples that were copies would be nearer to a training socket than unseen real sockets are. Both
# sets are compared as clouds whose points are alike in density: the decoder has that of the published
# clouds. *neither* is the model that has seen its 51 scans and nothing else.

# %%
training_points, scans = shapes.points[sets["training"]], shapes.points[sets["scans"]]
distances = {
    f"samples, {BEST}": baselines.nearest_distances(samples, training_points),
    f"test sockets, to {len(training_points)} training sockets": baselines.nearest_distances(
        unseen.points, training_points
    ),
    "samples, neither": baselines.nearest_distances(evaluated["neither"][0]["samples"], scans),
    f"test sockets, to {len(scans)} scans": baselines.nearest_distances(unseen.points, scans),
}
of_best, test_to_training, of_plain, test_to_scans = distances.values()
memorising = pd.DataFrame(
    {
        BEST: baselines.memorising(of_best, test_to_training),
        "neither": baselines.memorising(of_plain, test_to_scans),
    }
).T.rename_axis("model")
study.table(
    "T4_memorising",
    memorising,
    "Chamfer distance (unit sphere) to the nearest socket that was trained on: median of the samples "
    "and of the test sockets, and their ratio, far below 1 for copies. share_nearer: share of the "
    "samples that are nearer than all but the nearest 5 % of the test sockets; 0.05 is expected.",
)
study.figure(
    "T4_memorising",
    figures.nearest_histogram(distances),
    "How near to a socket that was trained on samples and test sockets are: the share within each "
    "distance.",
)

# %% [markdown]
# ## Model cards
#
# The models to take away, written by notebook 3, get a card each. That of the first:

# %%
carded = {
    "this model": [taken_away],
    "linear shape model": evaluated[baselines.LINEAR_ALL_SOCKETS],
    "real training sockets": evaluated[baselines.NEAREST],
}
figures_of_card = tables.with_spread(tables.summary(carded, over="draws")).join(
    tables.with_spread(tables.by_kind(unseen.kinds, carded))
)
Markdown(cards.write_cards(study, figures_of_card.T.rename_axis("")))

# %% [markdown]
# ## What was learnt
#
# Sentences made from the numbers above, for this source and profile.

# %%
best, linear_row = comparison.loc[BEST], comparison.loc[baselines.LINEAR_ALL_SOCKETS]
floor, real = comparison.loc[baselines.FLOOR], comparison.loc[baselines.NEAREST]
few = comparison.loc["shape-model start"]
few_linear = comparison.loc[baselines.LINEAR]
memory = memorising.loc[BEST]
refined, one_pass = ablations.chamfer.filter(like="refinement: ")
study.conclude(
    "Chamfer distance of reconstruction: augmentation alone "
    + tables.change(comparison, "chamfer", "neither", "augmentation")
    + ", transfer alone "
    + tables.change(comparison, "chamfer", "neither", "transfer")
    + ", both "
    + tables.change(comparison, "chamfer", "neither", both.name)
    + ".",
    f"That augmentation helps, alone: {tables.answers(claims, 'augmentation helps, alone')}. With "
    f"transfer: {tables.answers(claims, 'augmentation helps, with transfer')}.",
    f"That transfer helps, alone: {tables.answers(claims, 'transfer helps, alone')}. With "
    f"augmentation: {tables.answers(claims, 'transfer helps, with augmentation')}.",
    "A decoder that starts as the shape models, in place of transfer: "
    + tables.change(comparison, "chamfer", both.name, "shape-model start")
    + f"; {tables.answers(claims, 'a shape-model start is better')}.",
    f"The best model, of {len(sets['training'])} sockets, against the linear shape model of the same "
    f"sockets and size: Chamfer distance {best.chamfer:.5f} and {linear_row.chamfer:.5f}, surface "
    f"error {best.surface_mm:.2f} and {linear_row.surface_mm:.2f} mm; fidelity {best.fidelity:.5f} "
    f"and {linear_row.fidelity:.5f}, coverage {best.coverage:.2f} and {linear_row.coverage:.2f}, JSD "
    f"{best.jsd:.3f} and {linear_row.jsd:.3f}. That it is better: "
    f"{tables.answers(claims, 'all sockets: beats linear')}.",
    f"Real training sockets, drawn as often: coverage {real.coverage:.3f} ± {real.coverage_sd:.3f}, "
    f"JSD {real.jsd:.4f} ± {real.jsd_sd:.4f}, 1-NN accuracy {real.one_nn_accuracy:.2f}; samples of the "
    f"best model: {best.coverage:.3f}, {best.jsd:.4f} and {best.one_nn_accuracy:.2f}.",
    f"The model to take away, one of these in half precision: {taken_away['chamfer'].mean():.5f} and "
    f"{taken_away['surface_mm'].mean():.2f} mm.",
    f"From {len(sets['scans'])} scans: Chamfer distance {few.chamfer:.5f}, linear "
    f"{few_linear.chamfer:.5f}; surface error {few.surface_mm:.2f}, linear "
    f"{few_linear.surface_mm:.2f} mm.",
    "In mm, which do not count where on the wall a point is, the mean error of the network is "
    + ("no lower" if best.surface_mm >= linear_row.surface_mm else "lower")
    + " than that of the linear shape model of the same sockets and size, which is fitted to surfaces "
    "in mm and is told the kind of each socket. Chamfer distance and JSD also count how dense points "
    "are, and there the linear model is sampled evenly. Both sources of sockets here, public and "
    "bundled, were drawn from linear shape models: a linear model with enough modes could have every "
    "one of them.",
    "What training adds to its start, Chamfer distance: "
    + tables.change(comparison, "chamfer", before, BEST)
    + ", JSD "
    + tables.change(comparison, "jsd", before, BEST)
    + f"; {tables.answers(claims, 'training adds to the start')}.",
    f"Refinement of codes: Chamfer distance {one_pass:.5f} without, {refined:.5f} with it.",
    f"The test sockets' own surfaces, sampled evenly, come to Chamfer distance {floor.chamfer:.5f}, "
    f"fidelity {floor.fidelity:.5f} and coverage {floor.coverage:.2f}"
    + (
        ": the model comes below that; its points may be as dense as the published ones, the floor's "
        "are even."
        if best.chamfer < floor.chamfer
        else "."
    ),
    f"Samples are {memory.ratio:.2f} times as far from the nearest training socket as unseen real "
    f"sockets are (median), and {100 * memory.share_nearer:.0f} % of them nearer than all but 5 % of "
    "these (5 % are expected of sockets that are as new).",
    *(
        ["One training seed: small differences between models are not told from chance."]
        if n_seeds == 1
        else []
    ),
)
