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
from aaelib.shape_model import ShapeModel
from aaelib.study import Study

study = Study(profile, "03_transfer_learning")
shapes, surfaces, split = study.load_shapes("sockets")

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
first_scan, normalizer = normalize(scans)
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
    aae.start_decoder_at(first_scan[0, : aae.recipe.n_points])

    def draw(first_step, n_steps):
        return data.batches(
            scans,
            normalizer.scale,
            n_steps,
            settings["batch_size"],
            shape_models=shape_models if augmented else (),
            share=settings["share"],
            limit=settings["limit"],
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
        {"source": shapes.source, "condition": name},
    )


# %% [markdown]
# ## Training
#
# A condition that was trained before with the same code and data is not trained again, and one that
# was cut off goes on at its last epoch.

# %%
histories = {name: train(name)[1] for name in CONDITIONS}

# %%
best = {
    name: int(history.val_jsd[settings["first_selectable"] :].idxmin())
    for name, history in histories.items()
}
study.figure(
    "F4_training_curves",
    figures.training_curves(
        histories,
        {
            "chamfer": "Chamfer distance, training batches",
            "val_chamfer": "Chamfer distance, validation sockets",
            "val_jsd": "JSD of samples, validation sockets",
            "discriminator_loss": "discriminator loss",
            "discriminator_accuracy": "discriminator accuracy",
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
            "best_epoch": best[name],
            "training_chamfer": history.chamfer[best[name]],
            "validation_chamfer": history.val_chamfer[best[name]],
            "gap": history.val_chamfer[best[name]] / history.chamfer[best[name]],
            "validation_jsd": history.val_jsd[best[name]],
            "discriminator_accuracy": history.discriminator_accuracy[best[name]],
        }
        for name, history in histories.items()
    }
).T.rename_axis("condition")
study.table(
    "conditions",
    chosen,
    "The selected epoch of each condition. The gap is validation over training Chamfer distance: 1 "
    "would be no over-fitting, but training clouds are encoded from a part of their points.",
)

# %% [markdown]
# ## What was learnt

# %%
plain, both = chosen.loc["neither"], chosen.loc["augmentation + transfer"]
study.conclude(
    f"Without augmentation, validation sockets are reconstructed {plain.gap:.1f} times as far off as "
    f"the scans that were trained on; with augmentation "
    f"{chosen.loc['augmentation'].gap:.1f} times.",
    f"From neither to both, the validation Chamfer distance goes from "
    f"{plain.validation_chamfer:.5f} to {both.validation_chamfer:.5f} "
    f"and the JSD of samples from {plain.validation_jsd:.3f} to {both.validation_jsd:.3f}.",
    "These are validation sockets, on which epochs were selected; the test is in notebook 4.",
)
