# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: reads,-kernelspec,-jupytext.text_representation
#   reads: 01_augmentation 02_modelnet_pretraining
# ---

# %% [markdown]
# # 3. Augmentation and transfer: ways to train on 51 scans
#
# The paper asks what augmentation by a shape model and transfer from everyday shapes bring when there
# are only 51 scans. Four conditions answer it: {without, with} augmentation x {without, with}
# transfer. They have the same recipe, the same number of steps on sockets and the same selection of
# the best epoch. Each is trained once on every split of the sockets; a split has its own scans, shape
# models, validation and test sockets. Pre-training (notebook 2) is not counted, since its weights are
# there before the first scan.
#
# Three more conditions show what else can be done with the same data and time: the paper's own
# recipe, a decoder that starts as the shape models, and the same with more sockets. Notebook 4
# compares what comes out.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")

# %%
from aaelib.models.runs import card_of
from aaelib.study import Study, cards, conditions, figures

study = Study(profile, "03_transfer_learning")
shapes, _, _ = study.load_sockets()
pretrained_on = card_of(study.model_path("pretrained"))["source"]
study.source = f"{shapes.source}, transfer from {pretrained_on}"

# %% [markdown]
# ## The conditions
#
# *Augmentation*: half of each batch is drawn afresh from the shape models of the scans (notebook 1),
# the rest are scans. Without it all are scans. *Transfer*: the encoder starts from the pre-trained
# weights (notebook 2). Without it, it starts from random ones.
#
# There are other ways to transfer. The paper takes over all three networks; or the decoder alone can
# be taken, rates lowered, other shapes used for pre-training. Of those that were tried on validation
# sockets none did clearly better than the encoder alone (`benchmarks/search.md` has the table).
#
# *The start of the decoder*: its last bias is moved so that the mean of what it draws is one scan. A
# pre-trained decoder, where it is taken over, has learnt which points move together. So the points of
# the scan are first put in the order of the decoder's own mean, by optimal assignment.
#
# *Shape-model start*: the decoder starts as the shape models themselves. One number of the code
# chooses the kind, the others are the weights of the modes. The encoder first learns to read drawn
# sockets, whose codes are known, so that its code decodes to the same cloud; then real training
# sockets as well, with refined codes (below). Its codes are the prior's from the start, and no critic
# pushes them. On validation sockets, after 1,000 steps of reading, a critic made the error of one pass
# 1.75 mm in place of 1.55 mm, and the energy distance of codes from the prior 0.15 in place of 0.16.
#
# Size is part of a socket: clouds are centred and divided by one scale, the largest radius among the
# sockets trained on, so that a decoded socket has a size in mm. The original recipe uses unit spheres.

# %% tags=["nbval-check-output"]
conditions.listed()

# %% [markdown]
# ## Training
#
# A condition that was trained before with the same code and data is not trained again, and one that
# was cut off goes on at its last epoch. The best epoch is the one whose samples have the lowest JSD
# from validation sockets. The decoder then learns for some more steps at *refined* codes.
#
# **Refined codes**: an encoder gives a first estimate of a code in one pass. A few steps of
# Levenberg and Marquardt move it to the most probable code: the one that minimizes the distance from
# the decoded to the given socket, plus the prior's term. The weight of that term, the noise, is
# estimated on validation sockets, so that their refined codes have the prior's variance. The paper's
# recipe does not refine.

# %%
trained = conditions.train_all(study)

# %%
first = {
    name: trained[name, study.seed]
    for name in conditions.CONDITIONS
    if name != "original recipe"  # in units of its own
}
study.figure(
    "F4_training_curves",
    figures.training_curves(
        {name: run.history for name, run in first.items()},
        {
            "chamfer": "Chamfer distance, training batches",
            "val_chamfer": "Chamfer distance, validation sockets",
            "val_jsd": "JSD of samples, validation sockets",
            "discriminator_loss": "discriminator loss",
            "val_discriminator_accuracy": "discriminator accuracy, validation",
            "val_code_spread": "spread of validation codes (prior: 1)",
        },
        {name: run.best_epoch for name, run in first.items()},
    ),
    "The conditions, epoch by epoch (first split); markers are the selected epochs. Chamfer distances "
    "are of the encoder's codes in one pass, in units of the largest socket's radius.",
)

# %% [markdown]
# ## Validation sockets
#
# A model that has learnt its sockets by heart reconstructs them better than others. The gap is the
# ratio of the two errors.

# %%
found = conditions.on_validation(study, trained)
by_condition = found.drop(columns="split").groupby("condition", sort=False)
means = by_condition.mean().join(by_condition.std(ddof=1).add_suffix("_sd"))
study.table(
    "conditions",
    means,
    "The conditions after training: steps before (of pre-training, or in which the encoder learns to "
    "read the shape models), on sockets, and after (of the decoder at refined codes); mean Chamfer "
    "distance (unit sphere) of sockets trained on and of validation sockets, and their ratio; JSD of "
    "samples; discriminator accuracy on validation codes, 0.5 is balance. ± is over splits.",
)

# %% [markdown]
# ## The model to take away
#
# The model of all training sockets of the first split is written as half-precision weights, and so is
# the pre-trained one. `models.load("sockets")` and `models.load("pretrained")` read those that come
# with this repository.

# %%
cards.export(study)

# %% [markdown]
# ## What was learnt

# %%
plain, both = means.loc["neither"], means.loc["augmentation + transfer"]
start = means.loc["shape-model start"]
study.conclude(
    f"Without augmentation or transfer, the Chamfer distance of validation sockets is {plain.gap:.2f} "
    f"times that of the scans trained on; with augmentation {means.loc['augmentation'].gap:.2f} times.",
    f"From neither to both, it goes from {plain.validation_chamfer:.5f} to {both.validation_chamfer:.5f}, "
    f"and the JSD of samples from {plain.validation_jsd:.3f} to {both.validation_jsd:.3f}. A decoder "
    f"that starts as the shape models has {start.validation_chamfer:.5f} and {start.validation_jsd:.3f}.",
    "Epochs were selected on these validation sockets. The test is in notebook 4.",
)
