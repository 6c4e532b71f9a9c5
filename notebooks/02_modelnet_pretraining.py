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
# There are few sockets, but many shapes of everyday things. ModelNet has thousands: chairs,
# monitors, bathtubs. A network that learns from them first may need fewer sockets afterwards. This
# is transfer learning. This notebook trains the adversarial autoencoder on everyday shapes, and
# notebook 3 starts from its weights.
#
# The licence of ModelNet does not allow us to include it. If it is not on your machine, the corpus
# is a set of procedural surfaces (bowls, lamps, desks, ...). Every caption names the corpus that
# was used.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")

# %%
import numpy as np
import pandas as pd

from aaelib import models, shapes
from aaelib.metrics.reconstruction import reconstruction_chamfer
from aaelib.models import latent, networks
from aaelib.study import Study, conditions, figures

study = Study(profile, "02_modelnet_pretraining")

# %% [markdown]
# ## The corpus
#
# We load the shapes as clouds of points in the unit sphere. A random part of them is held out for
# validation: the network does not learn from it. The table counts the shapes of each class.

# %%
corpus = shapes.load_corpus(
    limit=study["corpus"]["limit"], n_per_family=study["corpus"]["n_per_family"], seed=study.seed
)
study.source = corpus.source
parts = conditions.split_corpus(study, corpus)
train, held_out = parts["training"], parts["validation"]
pd.Series(corpus.kinds).value_counts().to_frame("shapes")

# %% [markdown]
# These are ten shapes that the network learns from.

# %%
examples = np.random.default_rng(study.seed).permutation(train)[:10]
study.figure(
    "F3_corpus",
    figures.cloud_gallery(
        corpus.points[examples], [kind.replace("_", " ") for kind in corpus.kinds[examples]]
    ),
    "Ten training shapes of the corpus, with their classes, as clouds of points.",
    live=False,  # ModelNet's shapes may not be passed on
)

# %% [markdown]
# ## The system
#
# An adversarial autoencoder has three networks. The **encoder** (PointNet) turns a cloud of points
# into a short list of numbers, the code. The **decoder** turns a code back into a cloud. The
# Chamfer distance between the given and the decoded cloud is the reconstruction loss.
#
# The **discriminator** sees codes of shapes and random draws of a normal distribution, the prior.
# It learns to tell them apart, and the encoder learns to deceive it. When neither wins, codes are
# distributed like the prior. Then a random draw of the prior decodes to a plausible shape.
#
# A recipe holds the settings of the networks. `paper` is the published architecture. `compact`, the
# default, is small enough for a laptop. Its main differences are:
#
# - The encoder sees a random part of the points at each training step.
# - Codes are standardized to the mean and the standard deviation of the prior.
# - The discriminator is a Wasserstein critic with gradient penalty.
# - The decoder can add a linear shape model for each kind of socket to the output of its layers.
#   A gate that depends on the code chooses between them. During pre-training the terms of these
#   models start at zero; notebook 3 fills them.
#
# Both recipes correct errors of the [original code](https://github.com/adapttech-ltd/SocketAAE):
#
# - Its standard deviations can be negative. Here they are positive.
# - It trains with a prior of standard deviation 0.2 and validates with 1.0. Here both have 0.2.
# - It reads the pre-trained decoder and discriminator from a variable that does not exist. Here any
#   of the three networks can be read; notebook 3 says which are.
# - One number decides whether all three networks are frozen. Here each network has its own.
# - Its split loses the first file of each part and takes shares as integers. Here it does neither.
#
# ![An encoder turns a cloud of points into a code, a decoder turns it back, and a discriminator compares codes with a prior](images/F1_system.svg)
#
# **F1_system.** The adversarial autoencoder. Solid arrows carry shapes, codes and losses; dashed
# arrows carry weights that were pre-trained on ModelNet or on the procedural shapes. In the compact
# recipe one optimizer, the generator's, updates the encoder by the sum of its two losses.

# %% [markdown]
# ## Training
#
# We train the three networks together. After each epoch we decode random draws of the prior and
# compare them with validation shapes. The measure is the Jensen-Shannon divergence (JSD) of the
# places where their points lie; 0 means the same places. As in the paper, we keep the epoch with
# the lowest JSD. Early epochs are not considered, because learning rates are still high there. The
# profile says which epoch is the first to be considered.

# %%
run = conditions.pretrain(study, corpus)
aae, history, best, recipe = run.model, run.history, run.best_epoch, run.model.recipe

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
    "Pre-training by epoch; the marker is the selected epoch. Distances, JSD and losses should "
    "fall. An accuracy of 0.5 means that the discriminator cannot tell codes from the prior.",
)

# %% [markdown]
# The next table sums up the pre-training: its data, its settings, and the quality at the selected
# epoch. The last three rows compare the codes of validation shapes with the prior.

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
                "steps": study["pretraining"]["epochs"] * study["pretraining"]["steps_per_epoch"],
                "best epoch": best,
                "JSD, validation": history.val_jsd[best],
                "Chamfer distance, training": history.chamfer[best],
                "Chamfer distance, validation": history.val_chamfer[best],
                "discriminator loss": history.discriminator_loss[best],
                "discriminator accuracy, validation (0.5 is balance)": (
                    history.val_discriminator_accuracy[best]
                ),
                "code mean, in the prior's std (prior: 0)": statistics["mean"],
                "code spread, in the prior's std (prior: 1)": statistics["spread"],
                "code correlation (prior: 0)": statistics["correlation"],
            }
        }
    ).rename_axis("what"),
    f"Pre-training with the recipe `{recipe.name}`. Chamfer distances are in the unit sphere; "
    "lower is better. The last three rows are of validation shapes, with the value of the prior "
    "in brackets.",
)

# %% [markdown]
# ## Reconstructions and samples
#
# First we encode and decode five validation shapes. Then we decode ten random draws of the prior.

# %%
some = held_out[:5]
study.figure(
    "F3_reconstructions",
    figures.cloud_gallery(
        [*corpus.points[some], *aae.reconstruct(corpus.points[some])],
        [*(kind.replace("_", " ") for kind in corpus.kinds[some]), *["reconstruction"] * len(some)],
    ),
    "Five validation shapes (top) and their reconstructions (bottom).",
    live=False,  # ModelNet's shapes may not be passed on
)
study.figure(
    "F3_samples",
    figures.cloud_gallery(aae.sample(10, study.seed)),
    "Ten random samples of the prior after pre-training. They should look like everyday shapes.",
    live=False,  # ModelNet's shapes may not be passed on
)

# %% [markdown]
# The other notebooks load this model from its file. We check that the loaded model gives the same
# reconstructions.

# %% tags=["nbval-check-output"]
loaded = models.load(study.model_path("pretrained"))
same = np.array_equal(loaded.reconstruct(corpus.points[some]), aae.reconstruct(corpus.points[some]))
print("networks:", networks.NETWORKS)
print("loaded model reconstructs the same:", same)

# %% [markdown]
# ## What was learnt
#
# These sentences are written from the numbers above, for this source and profile.

# %%
unseen, seen = corpus.points[held_out], corpus.points[train[: len(held_out)]]
errors = reconstruction_chamfer(unseen, aae.reconstruct(unseen, codes=codes))
seen_errors = reconstruction_chamfer(seen, aae.reconstruct(seen))
accuracy = history.val_discriminator_accuracy[best]
study.conclude(
    f"{len(errors)} validation shapes are reconstructed with a Chamfer distance of "
    f"{errors.mean():.4f} ± {errors.std(ddof=1):.4f} (mean and standard deviation over shapes, "
    f"unit sphere). This is {errors.mean() / seen_errors.mean():.1f} times the distance of "
    f"{len(seen_errors)} training shapes.",
    f"The discriminator is right for {100 * accuracy:.0f} % of codes and draws of the prior (50 % "
    "is guessing): "
    + (
        "codes and prior are hard to tell apart."
        if abs(accuracy - 0.5) < 0.25
        else "codes are not yet distributed like the prior."
    ),
    "Notebooks 3 and 4 measure whether these weights help on sockets.",
)
