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
# The paper asked experts to look at sockets and to say which are real and which are generated. This
# notebook prepares the same test. It draws a set of sockets, shows them in a widget that records
# answers, and analyses the answers.
#
# The repository comes without answers of experts. Until someone takes part, the results below are
# those of two computer programs that try to tell the sockets apart.

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
# The set has all test sockets, which the model has not seen, and as many random samples of the
# model. These samples appear in no other notebook.
#
# Real and generated sockets must differ in their shape only. So we fit a surface to each in the
# same way, on the same grid, and show all of them centred, at one scale and without names. The
# order is random, and a seed makes it the same each time.

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
    f"The first 10 of the {len(blind)} sockets in the blind assessment, as assessors see them. "
    f"Of all {len(blind)}, half are real.",
)

# %% tags=["nbval-check-output"]
print("as many real as generated:", blind.is_generated.sum() * 2 == len(blind))
print("grids:", {surface.vertices.shape for surface in blind.surfaces})

# %% [markdown]
# ## Take part
#
# 1. Start `make lab` and run this notebook down to the next cell. Do not look at the sockets in
#    other notebooks before you have answered.
# 2. Choose an id of letters, digits, - and _. Do not use your name.
# 3. For each socket, say whether it is real or generated, and how plausible it is.
# 4. Run the cells below again to see the results.
#
# Each answer is saved at once. If you stop, enter the same id later to continue. Several people can
# answer, one after another or at the same time in separate windows.

# %%
# Not among the results, which `make clean` removes.
answers_file = places.DOWNLOADS / "assessment" / f"{profile}.sqlite"
assessment.widget(blind, answers_file)

# %% [markdown]
# ## The machines' results
#
# Two programs judge the same surfaces. The first looks up the nearest other socket and gives the
# same answer as is true for that one (1-NN). The second is a logistic regression on sizes,
# roughness and principal components of the surface, with cross-validation. Both are told the truth
# about the other sockets, which experts are not. So their results do not replace an expert's.

# %%
machine = assessment.machine_counterpart(blind)

# %% [markdown]
# ## Who can tell
#
# We compare each assessor and each machine with guessing.
#
# - *accuracy* is the share of right answers. *low* and *high* are the ends of its 95 % interval
#   (Wilson). Guessing gives 0.5, and so does a perfect generator.
# - *p* is the probability that guessing is at least as far from 0.5. It is two-sided. For people it
#   comes from a binomial test, for machines from permutations of the labels.
# - *n* is the number of answers.
# - *kappa* measures the agreement of the assessors beyond chance: Cohen's for two, Fleiss' for
#   more.

# %%
answers = assessment.read_answers(answers_file, blind)
judged = assessment.judge(answers, blind)
plausibility = assessment.plausibility(judged)
table = assessment.results(answers, blind, machine)
n_assessors = answers.assessor.nunique()
who = {0: "No assessor has", 1: "One assessor has"}.get(
    n_assessors, f"{n_assessors} assessors have"
)
study.table(
    "T5_blind_assessment",
    table,
    f"Accuracy of telling {n} real from {n} generated sockets (0.5 is guessing). {who} answered "
    "so far; rows that begin with 'machine' are results of programs. Intervals assume independent "
    "answers, and are slightly too short where answers depend on each other.",
)
study.figure(
    "F10_blind_assessment",
    figures.assessment(table, plausibility),
    f"Accuracy of telling {n} real from {n} generated sockets, with 95 % intervals; machines are "
    f"grey. The dotted line is guessing. {who} answered so far"
    + ("; the right panel shows how plausible they found the sockets." if len(answers) else "."),
)
if len(answers):
    study.table("T5_answers", answers.set_index("assessor"))
    study.table(
        "T5_plausibility",
        plausibility,
        "Plausibility of real and of generated sockets, from 1 (impossible) to 5 (perfectly "
        "plausible). mean and sd are over all answers, right or wrong; n is their number.",
    )

# %% tags=["nbval-check-output"]
print("machines:", list(machine.index))
print("columns:", list(table))
ordered = (table.low >= 0) & (table.low <= table.accuracy) & (table.accuracy <= table.high)
print("intervals hold their accuracy:", bool((ordered & (table.high <= 1)).all()))

# %% [markdown]
# ## What was learnt
#
# These sentences are written from the numbers above, for this source and profile.

# %%
if len(answers):
    human = f"All assessors together: {assessment.verdict(table.loc[assessment.POOLED])}."
else:
    human = (
        "No expert has assessed these sockets yet. So we do not know if one could tell them apart."
    )
nearest, classifier = (assessment.verdict(row) for _, row in machine.iterrows())
study.conclude(
    human,
    f"Machine by the nearest other socket: {nearest}.",
    f"Machine by a classifier: {classifier}.",
    f"With {len(blind)} sockets, one judge needs an accuracy of at least "
    f"{assessment.detectable(len(blind)):.2f} before the test can tell it from guessing.",
)
