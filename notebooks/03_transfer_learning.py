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
# # 3. Augmentation and transfer: four ways to train on 51 scans
#
# The paper's question: what do augmentation by a shape model and transfer from everyday shapes bring
# when there are only 51 scans? Four conditions answer it, {without, with} augmentation x {without,
# with} transfer, with the same recipe, the same number of steps and the same selection of the best
# epoch. Notebook 4 compares what comes out.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")

# %%
import pandas as pd

from aaelib import data, figures, models, training
from aaelib.clouds import normalize
from aaelib.metrics import reconstruction_chamfer
from aaelib.shape_model import ShapeModel
from aaelib.study import Study

study = Study(profile, "03_transfer_learning")
shapes, surfaces, split = study.load_shapes("sockets")
pretrained_on = training.card_of(study.model_path("pretrained"))["source"]
study.source = f"{shapes.source}, transfer from {pretrained_on}"

# %% [markdown]
# ## The conditions
#
# *Augmentation*: part of each batch is drawn afresh from the shape models of the scans (notebook 1),
# the rest are scans; without it, all are scans. *Transfer*: all three networks start from the
# pre-trained weights (notebook 2); without it, from random ones. In every condition the decoder's
# last bias starts as one scan, so that nothing has to be unlearnt before there is a socket.
#
# Size is part of a socket: clouds are centred and divided by one scale, the largest radius among the
# scans, so that what is decoded has millimetres.

# %% tags=["nbval-check-output"]
CONDITIONS = {
    "neither": (False, False),
    "augmentation": (True, False),
    "transfer": (False, True),
    "augmentation + transfer": (True, True),
}
for name, (augmented, transferred) in CONDITIONS.items():
    print(f"{name}: shape model {augmented}, pre-trained weights {transferred}")

# %%
scans, validation = shapes.points[split["scans"]], shapes.points[split["validation"]]
normalized_scans, normalizer = normalize(scans)
shape_models = [
    ShapeModel.load(study.folder / "models" / f"shape_model_{kind}.npz") for kind in data.KINDS
]
pretrained = models.load(study.model_path("pretrained"))
settings = study["transfer"]


def train(name):
    augmented, transferred = CONDITIONS[name]
    aae = models.AdversarialAutoencoder(pretrained.recipe, normalizer.scale, study.seed)
    if transferred:
        aae.start_from(pretrained)
    aae.start_decoder_at(normalized_scans[0, : aae.recipe.n_points])

    def draw(first_step, n_steps):
        return data.batches(
            scans,
            normalizer.scale,
            n_steps,
            settings["batch_size"],
            shape_models=shape_models if augmented else (),
            share=settings["share"],
            limit=settings["limit"],
            jitter=settings["jitter"],
            rotate=settings["rotate"],
            normalization=aae.recipe.normalization,
            first_step=first_step,
            seed=study.seed,
        )

    return training.train(
        aae,
        draw,
        validation,
        study.model_path(name.replace(" + ", "_")),
        settings["epochs"],
        settings["steps_per_epoch"],
        settings["first_selectable"],
        {"source": study.source, "condition": name},
    )


# %% [markdown]
# ## Training
#
# A condition that was trained before with the same code and data is not trained again, and one that
# was cut off goes on at its last epoch.

# %%
runs = {name: train(name) for name in CONDITIONS}

# %%
histories = {name: history for name, (_, history, _) in runs.items()}
best = {name: epoch for name, (_, _, epoch) in runs.items()}
study.figure(
    "F4_training_curves",
    figures.training_curves(
        histories,
        {
            "chamfer": "Chamfer distance, training batches",
            "val_chamfer": "Chamfer distance, validation sockets",
            "val_jsd": "JSD of samples, validation sockets",
            "discriminator_loss": "discriminator loss",
            "val_discriminator_accuracy": "discriminator accuracy, validation",
            "val_code_spread": "spread of validation codes (prior: 1)",
        },
        best,
    ),
    "The four conditions, epoch by epoch; markers are the selected epochs. Chamfer distances are in "
    "units of the largest scan's radius.",
)


# %%
chosen = pd.DataFrame(
    {
        name: {
            "best_epoch": epoch,
            "scans_chamfer": reconstruction_chamfer(scans, aae.reconstruct(scans)).mean(),
            "validation_chamfer": reconstruction_chamfer(
                validation, aae.reconstruct(validation)
            ).mean(),
            "validation_jsd": history.val_jsd[epoch],
            "discriminator_accuracy": history.val_discriminator_accuracy[epoch],
        }
        for name, (aae, history, epoch) in runs.items()
    }
).T.rename_axis("condition")
chosen.insert(3, "gap", chosen.validation_chamfer / chosen.scans_chamfer)
study.table(
    "conditions",
    chosen,
    "The selected epoch of each condition: mean Chamfer distance (unit sphere) of the reconstructed "
    "scans, which were trained on, and of validation sockets, and their ratio: 1 would be no "
    "over-fitting. JSD of samples; discriminator accuracy on validation codes, 0.5 is balance.",
)

# %% [markdown]
# ## What was learnt

# %%
plain, both = chosen.loc["neither"], chosen.loc["augmentation + transfer"]
study.conclude(
    f"Without augmentation or transfer, the Chamfer distance of reconstructed validation sockets is "
    f"{plain.gap:.1f} times that of the scans that were trained on; with augmentation "
    f"{chosen.loc['augmentation'].gap:.1f} times: the gap is over-fitting.",
    f"From neither to both, the validation Chamfer distance goes from "
    f"{plain.validation_chamfer:.5f} to {both.validation_chamfer:.5f} "
    f"and the JSD of samples from {plain.validation_jsd:.3f} to {both.validation_jsd:.3f}.",
    "These are validation sockets, on which epochs were selected; the test is in notebook 4.",
)
