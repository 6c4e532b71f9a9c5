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
# The paper's question: what do augmentation by a shape model and transfer from everyday shapes bring
# when there are only 51 scans? Four conditions answer it, {without, with} augmentation x {without,
# with} transfer, with the same recipe, the same number of steps on sockets and the same selection of
# the best epoch, each with several seeds where the profile has them. Pre-training (notebook 2) is not
# counted: its weights are there before the first scan. Three more ask what else could be done:
# the paper's own recipe in the same time, a decoder that starts as the shape models, and the same
# with all sockets that are neither validation nor test. Notebook 4 compares what comes out.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")

# %%
from aaelib.models.runs import card_of
from aaelib.study import Study, cards, conditions, figures, tables

study = Study(profile, "03_transfer_learning")
shapes, _, _ = study.load_sockets()
pretrained_on = card_of(study.model_path("pretrained"))["source"]
study.source = f"{shapes.source}, transfer from {pretrained_on}"

# %% [markdown]
# ## The conditions
#
# *Augmentation*: part of each batch is drawn afresh from the shape models of the scans (notebook 1),
# the rest are scans; without it, all are scans. *Transfer*: all three networks start from the
# pre-trained weights (notebook 2); without it, from random ones. The decoder's last bias starts as
# one scan, so that nothing has to be unlearnt before there is a socket.
#
# *Shape-model start*: the decoder starts as the shape models themselves. One number of the code
# tells the kind, the others are the weights of the modes, and the encoder first learns to read them
# from drawn sockets, whose weights are known. Where the profile sets the decoder's rate to 0, as
# `default` and `study` do, the decoder then stays the shape models while the encoder goes on learning,
# and learns itself at the end, at refined codes (below).
#
# Size is part of a socket: clouds are centred and divided by one scale, the largest radius among the
# sockets trained on, so that what is decoded has millimetres. The original recipe has unit spheres.

# %% tags=["nbval-check-output"]
for condition in conditions.CONDITIONS.values():
    print(
        f"{condition.name}: {condition.sockets}, starts as {condition.start}, "
        f"shape model {condition.augmented}, pre-trained weights {condition.transferred}"
    )

# %% [markdown]
# ## Training
#
# A condition that was trained before with the same code and data is not trained again, and one that
# was cut off goes on at its last epoch. Each is evaluated right after its training, on the sockets
# that it learnt from, on validation sockets, and for notebook 4 on test sockets. Profiles such as
# `study` also train ablations, of which notebook 4 tells. After the best epoch by validation JSD is chosen, the decoder
# learns for some more steps at *refined* codes: an encoder's estimate of a code, improved by gradient
# steps on the distance between decoded and given socket. `reconstruct` refines codes in the same way.
# The paper's recipe does neither.

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
    "The conditions, epoch by epoch (first seed); markers are the selected epochs. Chamfer distances "
    "are of unrefined codes, in units of the largest socket's radius.",
)

# %% [markdown]
# ## Validation sockets
#
# How far reconstructions of validation sockets are behind those of the sockets that a model learnt
# from: the gap that over-fitting leaves.

# %%
found = conditions.on_validation(study, trained)
by_condition = found.drop(columns="split").groupby("condition", sort=False)
means = by_condition.mean().join(by_condition.std(ddof=1).add_suffix("_sd"))
study.table(
    "conditions",
    means,
    "The conditions after training. Steps before: of pre-training, or in which the encoder learnt to "
    "read the shape models; after: of the decoder at refined codes. Mean Chamfer distance (unit "
    "sphere) of the reconstructed sockets that were trained on, and of validation sockets, and their "
    "ratio, the gap. JSD of samples; discriminator accuracy on validation codes at the selected epoch, "
    f"0.5 is balance. ± is the standard deviation over {len(study['seeds'])} training seed(s).",
    shown=tables.with_spread(means),
)

# %% [markdown]
# ## The model to take away
#
# Of the runs with all training sockets, the seed that reconstructs validation sockets best is written
# as half-precision weights, and so are the pre-trained ones: `models.load("sockets")` and
# `models.load("pretrained")` read those that come with this repository.

# %%
of_best = found[found.condition == conditions.BEST]
best_seed = int(of_best.run[of_best.validation_chamfer.idxmin()])
cards.export(study, best_seed)

# %% [markdown]
# ## What was learnt

# %%
plain, both = means.loc["neither"], means.loc["augmentation + transfer"]
start = means.loc["shape-model start"]
study.conclude(
    f"Without augmentation or transfer, the Chamfer distance of reconstructed validation sockets is "
    f"{plain.gap:.2f} times that of the scans that were trained on; with augmentation "
    f"{means.loc['augmentation'].gap:.2f} times.",
    f"From neither to both, the validation Chamfer distance goes from "
    f"{plain.validation_chamfer:.5f} to {both.validation_chamfer:.5f} "
    f"and the JSD of samples from {plain.validation_jsd:.3f} to {both.validation_jsd:.3f}; a decoder "
    f"that starts as the shape models has {start.validation_chamfer:.5f} and "
    f"{start.validation_jsd:.3f}.",
    "These are validation sockets, on which epochs were selected; the test is in notebook 4.",
)
