# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: reads,-kernelspec,-jupytext.text_representation
#   reads: 03_transfer_learning
# ---

# %% [markdown]
# # 6. Can anyone tell?
#
# The paper showed real and generated sockets to experts who did not know which were which. This is
# that test: a set of sockets, a widget that asks, and what the answers come to. Nobody has answered
# until somebody has: without answers there is only the machine's counterpart.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")

# %%
from aaelib import models
from aaelib.apps import assessment
from aaelib.models.runs import card_of
from aaelib.shapes import places
from aaelib.study import Study, cards, conditions, figures

study = Study(profile, "06_blind_assessment")
shapes, _, split = study.load_sockets()
aae = models.load(cards.weights_path(study, "sockets"))
best = conditions.CONDITIONS[conditions.BEST]
study.source = card_of(conditions.path_of(study, best))["source"]

# %% [markdown]
# ## The set
#
# All test sockets, which the model has not seen, and as many random draws of its prior, none of them
# shown in the notebooks before. To each a surface is fitted in the same way, and all are shown on the same grid,
# centred, at one scale, without names: neither points nor smoothness that comes from processing tell
# what a socket is. The order is random; with the seed it is always the same.

# %%
# Notebooks 4 and 5 show samples of other seeds, so that nobody has seen these.
n, seed = len(split["test"]), 2000 + study.seed
blind = assessment.draw_set(shapes.points[split["test"]], aae, n, seed)
study.figure(
    "F10_items",
    figures.mesh_gallery(
        [surface.mesh() for surface in blind.surfaces[:10]],
        [f"socket {i}" for i in range(1, 11)],
    ),
    f"The first 10 of the {len(blind)} sockets of the blind assessment, as assessors see them. "
    "Half of all are real.",
)

# %% tags=["nbval-check-output"]
print("as many real as generated:", blind.is_generated.sum() * 2 == len(blind))
print("grids:", {surface.vertices.shape for surface in blind.surfaces})

# %% [markdown]
# ## Take part
#
# Run the notebook (`make lab`), give an id (letters, digits, - and _; no name), and answer. Look at
# the test sockets and samples of the other notebooks afterwards, not before. Each answer is written
# at once; the same id goes on where it stopped. Several assessors may answer, one after the other or
# in windows of their own. Then run the cells below again.

# %%
# Not among the results, which `make clean` removes.
answers_file = places.DOWNLOADS / "assessment" / f"{profile}.sqlite"
assessment.widget(blind, answers_file)

# %% [markdown]
# ## The machine's counterpart
#
# The same surfaces, told apart by the nearest other socket (1-NN) and by a classifier (a
# cross-validated logistic regression on sizes, roughness and principal components of the surface).
# The machines are told which of the other sockets are real; experts are not. This is no human's
# answer, and does not stand in for one.

# %%
machine = assessment.machine_counterpart(blind)

# %% [markdown]
# ## Who can tell
#
# *accuracy*: share of right answers, with its 95 % interval (Wilson). 0.5 is guessing, and what a
# generator wants. *p*: of guessing as far from one half or farther; two-sided, binomial for humans,
# by permutation of the labels for machines. *kappa*: agreement between the assessors beyond chance
# (Cohen's for two, Fleiss' for more).

# %%
answers = assessment.read_answers(answers_file, blind)
judged = assessment.judge(answers, blind)
plausibility = assessment.plausibility(judged)
table = assessment.results(answers, blind, machine)
n_assessors = answers.assessor.nunique()
who = {0: "Nobody has", 1: "One assessor has"}.get(n_assessors, f"{n_assessors} assessors have")
study.table(
    "T5_blind_assessment",
    table,
    f"Telling {n} real from {n} generated sockets. {who} answered; rows that begin with 'machine' "
    "are no human's. low and high are the ends of the 95 % interval, p is two-sided against "
    "guessing, n counts answers, kappa is agreement between assessors. Intervals take answers for "
    "independent; several answers to one socket, or neighbours of each other, are not quite.",
    shown=table.dropna(axis="columns", how="all"),
)
study.figure(
    "F10_blind_assessment",
    figures.assessment(table, plausibility),
    f"Accuracy of telling {n} real from {n} generated sockets, with 95 % intervals; the dotted line "
    f"is guessing; machines in grey. {who} answered"
    + (" (right: how plausible they found both)." if len(answers) else "."),
)
if len(answers):
    study.table("T5_answers", answers.set_index("assessor"))
    study.table(
        "T5_plausibility",
        plausibility,
        "Plausibility from 1 (impossible) to 5 (perfectly plausible) of real and of generated "
        "sockets, whatever assessors took them for: mean, standard deviation over answers, answers.",
    )

# %% tags=["nbval-check-output"]
print("machines:", list(machine.index))
print("columns:", list(table))
ordered = (table.low >= 0) & (table.low <= table.accuracy) & (table.accuracy <= table.high)
print("intervals hold their accuracy:", bool((ordered & (table.high <= 1)).all()))

# %% [markdown]
# ## What was learnt
#
# Sentences made from the numbers above, for this source and profile.

# %%
if len(answers):
    human = f"All assessors together: {assessment.verdict(table.loc[assessment.POOLED])}."
else:
    human = "No expert has assessed these sockets: whether one could tell them apart is not known."
nearest, classifier = (assessment.verdict(row) for _, row in machine.iterrows())
study.conclude(
    human,
    f"By the nearest other socket a machine's result is: {nearest}. As a classifier: {classifier}.",
    f"With {len(blind)} sockets an accuracy must be {assessment.detectable(len(blind)):.2f} or more "
    "for one judge to be told from guessing: a smaller difference would not be seen here.",
)
