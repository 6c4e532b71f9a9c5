# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: reads,-kernelspec,-jupytext.text_representation
# ---

# %% [markdown]
# # 2. Pre-training on everyday shapes
#
# Before it sees a socket, the network may learn what surfaces are like from shapes of which there
# are plenty: ModelNet's chairs, monitors, bathtubs. This notebook trains the adversarial autoencoder
# on them; notebook 3 starts from its weights. Without ModelNet, which may not be passed on, the
# corpus is a set of procedural surfaces (bowls, lamps, desks, ...), and the tables say so.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")

# %%
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from aaelib import models, shapes
from aaelib.metrics.reconstruction import reconstruction_chamfer
from aaelib.models import latent, networks
from aaelib.study import Study, figures

study = Study(profile, "02_modelnet_pretraining")

# %% [markdown]
# ## The corpus

# %%
corpus = shapes.load_corpus(
    limit=study["corpus"]["limit"], n_per_family=study["corpus"]["n_per_family"], seed=study.seed
)
study.source = corpus.source
train, held_out = train_test_split(
    np.arange(len(corpus)), test_size=study["corpus"]["validation"], random_state=study.seed
)
pd.Series(corpus.kinds).value_counts().to_frame("shapes")

# %%
examples = np.random.default_rng(study.seed).permutation(train)[:10]
study.figure(
    "F3_corpus",
    figures.cloud_gallery(
        corpus.points[examples], [kind.replace("_", " ") for kind in corpus.kinds[examples]]
    ),
    "Shapes of the pre-training corpus.",
    live=False,  # ModelNet's shapes may not be passed on
)

# %% [markdown]
# ## The system
#
# The **encoder** (PointNet) turns a cloud into a code, the **decoder** a code into a cloud; their
# Chamfer distance is the reconstruction loss. The **discriminator** learns to tell codes from draws
# of a prior, a normal distribution, while the encoder learns to deceive it. When both are in
# balance, codes are spread like the prior, and a draw of the prior decodes to a plausible shape.
# Three optimizers play: that of the autoencoder, of the discriminator, of the generator (the
# encoder, when it deceives).
#
# The networks follow a recipe. `paper` is the published architecture; `compact`, the default, is
# small enough for a laptop: an encoder that sees 512 of the 2048 points at a training step, codes
# standardized to the prior's mean and spread, a Wasserstein critic with gradient penalty as
# discriminator. Its decoder adds two gated linear shape models to what the layers give, which here
# start at nothing, and once trained learns a little more at codes that a few gradient steps have
# refined (notebook 3).
#
# In some points the [original code](https://github.com/adapttech-ltd/SocketAAE) is not followed, in
# either recipe: its standard-deviation head may be negative (here it can't), it trains with a prior
# of standard deviation 0.2 but validates with 1.0 (here 0.2 throughout), and it loads transfer
# weights of decoder and discriminator from an undefined name and freezes all three networks by the
# first of three numbers (here each network has its own). Its split lists lose their first file and
# take fractions as integers; here a split is by seed, per kind, and written beside the results.
#
# ![An encoder turns a cloud of points into a code, a decoder turns it back, and a discriminator compares codes with a prior](images/F1_system.svg)
#
# **F1_system.** The adversarial autoencoder: solid arrows carry shapes, codes and losses, dashed ones
# weights, pre-trained on ModelNet or on the procedural stand-in. In the compact recipe the encoder
# learns from both its losses at once, by the generator optimizer.

# %% [markdown]
# ## Training
#
# `compile` takes the three optimizers, `fit` runs the epochs. After each epoch, samples of the prior
# are compared with validation shapes by the Jensen-Shannon divergence (JSD) of where their points
# lie; the epoch with the lowest is kept, as in the paper, among those that the profile allows (in
# `default` the last third of the run, in which learning rates have fallen).

# %%
recipe = models.recipe(study["recipe"]["name"], **study["recipe"]["changes"])
settings = study["pretraining"]
run = models.train(
    corpus,
    {"training": train, "validation": held_out},
    recipe,
    models.Start(scale=1.0),  # the corpus is in unit spheres already
    models.Settings(seed=study.seed, **settings),
    study.model_path("pretrained"),
)
aae, history, best = run.model, run.history, run.best_epoch

# %%
study.figure(
    "F3_pretraining_curves",
    figures.training_curves(
        {"training": history},
        {
            "chamfer": "Chamfer distance, training",
            "val_chamfer": "Chamfer distance, validation",
            "val_jsd": "JSD of samples, validation",
            "discriminator_loss": "discriminator loss",
            "generator_loss": "generator loss",
            "val_discriminator_accuracy": "discriminator accuracy, validation",
        },
        {"training": best},
    ),
    "Pre-training, epoch by epoch; the marker is the selected one. The discriminator's accuracy is "
    "best near 0.5: codes and prior can't be told apart.",
)

# %%
codes = aae.encode(corpus.points[held_out])
statistics = latent.code_statistics(codes, recipe.prior_std)
study.table(
    "T3_pretraining",
    pd.DataFrame(
        {
            "value": {
                "training shapes": len(train),
                "validation shapes": len(held_out),
                "classes": len(np.unique(corpus.kinds)),
                "code size": recipe.code_size,
                "learning rate, autoencoder": recipe.autoencoder_rate,
                "learning rate, discriminator": recipe.discriminator_rate,
                "learning rate, generator": recipe.generator_rate,
                "steps": settings["epochs"] * settings["steps_per_epoch"],
                "best epoch": best,
                "JSD, validation": history.val_jsd[best],
                "Chamfer distance, training": history.chamfer[best],
                "Chamfer distance, validation": history.val_chamfer[best],
                "discriminator loss": history.discriminator_loss[best],
                "discriminator accuracy, validation (0.5 is balance)": (
                    history.val_discriminator_accuracy[best]
                ),
                "code mean, prior's std (prior: 0)": statistics["mean"],
                "code spread, prior's std (prior: 1)": statistics["spread"],
                "code correlation (prior: 0)": statistics["correlation"],
            }
        }
    ).rename_axis("what"),
    f"Pre-training with the recipe `{recipe.name}`; Chamfer distances in the unit sphere, lower is "
    "better. Code statistics are of validation shapes.",
)

# %% [markdown]
# ## What it does
#
# Validation shapes above, their reconstructions below; then draws of the prior. A saved model must
# come back the same: the cell after checks it.

# %%
some = held_out[:5]
study.figure(
    "F3_reconstructions",
    figures.cloud_gallery(
        [*corpus.points[some], *aae.reconstruct(corpus.points[some])],
        [*(kind.replace("_", " ") for kind in corpus.kinds[some]), *["reconstruction"] * len(some)],
    ),
    "Unseen shapes of the corpus and their reconstructions.",
    live=False,  # ModelNet's shapes may not be passed on
)
study.figure(
    "F3_samples",
    figures.cloud_gallery(aae.sample(10, study.seed)),
    "Random samples of the prior after pre-training.",
    live=False,  # ModelNet's shapes may not be passed on
)

# %% tags=["nbval-check-output"]
loaded = models.load(study.model_path("pretrained"))
same = np.array_equal(loaded.reconstruct(corpus.points[some]), aae.reconstruct(corpus.points[some]))
print("networks:", networks.NETWORKS)
print("loaded model reconstructs the same:", same)

# %% [markdown]
# ## What was learnt

# %%
unseen, seen = corpus.points[held_out], corpus.points[train[: len(held_out)]]
errors = reconstruction_chamfer(unseen, aae.reconstruct(unseen, codes=codes))
seen_errors = reconstruction_chamfer(seen, aae.reconstruct(seen))
accuracy = history.val_discriminator_accuracy[best]
study.conclude(
    f"Unseen shapes of the corpus are reconstructed at a Chamfer distance of {errors.mean():.4f} "
    f"± {errors.std():.4f} (unit sphere), {errors.mean() / seen_errors.mean():.1f} times that of "
    "as many training shapes.",
    f"The discriminator tells codes from the prior in {100 * accuracy:.0f} % of cases: "
    + (
        "close to balance."
        if abs(accuracy - 0.5) < 0.25
        else "out of balance, codes are not yet the prior."
    ),
    "What these weights are worth for sockets is measured in notebooks 3 and 4.",
)
