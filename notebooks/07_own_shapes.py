# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: reads,-kernelspec,-jupytext.text_representation
#   reads: 02_modelnet_pretraining
# ---

# %% [markdown]
# # 7. Shapes of your own
#
# From a folder of meshes to a model of them, in the same steps for any shapes: clouds, training from the
# pre-trained weights, an evaluation beside what a sceptic would use instead, new shapes. Name your folder
# in `AAELIB_SHAPES` (or below); without one, the notebook makes an example. Each step is a command, too:
# `python -m aaelib resample`, `train`, `evaluate`, `generate`, `interpolate`, `export`.

# %% tags=["parameters"]
import os
from pathlib import Path

profile = os.environ.get("AAELIB_PROFILE", "default")
own = os.environ.get("AAELIB_SHAPES")  # meshes or clouds, a sub-folder for each class

# %%
from aaelib import models, shapes
from aaelib.apps import outputs
from aaelib.shapes import corpus
from aaelib.study import Study, evaluate, figures, model_report

study = Study(profile, "07_own_shapes")
settings = study["own_shapes"]
here = study.folder / "own_shapes" / (Path(own).name if own else "example")

# %% [markdown]
# ## Meshes become clouds
#
# As many evenly spread points on each surface, in the folders that the meshes are in. Any format that
# trimesh reads will do; what can't be read is left out and listed with the reason, and what is there
# already is not done again.

# %%
families = ("bowl", "goblet", "vase")
meshes = own or corpus.export(here / "meshes", settings["n_per_family"], families, study.seed)
study.source = f"folder {own}" if own else "procedural vessels (an example)"
resampled = shapes.resample_tree(meshes, here / "clouds", seed=study.seed)
print(
    f"{len(resampled.written) + len(resampled.kept)} clouds, {len(resampled.refused)} files left out"
)
for file, why in resampled.refused:
    print(f"{file}: {why}")

# %%
clouds = shapes.load_clouds(here / "clouds")
some = list(range(0, len(clouds), max(1, len(clouds) // 10)))[:10]
study.figure(
    "own_shapes",
    figures.cloud_gallery(clouds.points[some], clouds.names[some]),
    f"Some of the {len(clouds)} shapes, {clouds.points.shape[1]} points each, in the meshes' unit.",
)

# %% [markdown]
# ## Train
#
# All networks start from the weights that notebook 02 pre-trained on other shapes. Of the clouds most
# are trained on, some choose the best epoch, and the rest is kept for the evaluation. The model, its
# history and a card that names the shapes of each part are files; a run that was cut off goes on, and
# one that is there is found.

# %%
parts = shapes.split(clouds.kinds, settings["shares"], study.seed)
run = models.train(
    clouds,
    parts,
    models.recipe(study["recipe"]["name"], **study["recipe"]["changes"]),
    models.Start(models.load(study.model_path("pretrained"))),
    models.Settings(seed=study.seed, **settings["training"]),
    here / "model.keras",
    {"weights_from": "pretrained.keras"},
)
study.figure(
    "own_training",
    figures.run_curves(run),
    "How training went: Chamfer distance of reconstructions, and how unlike the validation shapes "
    "samples are (lower is better). The selected epoch is marked.",
)

# %% [markdown]
# ## Evaluate
#
# On the shapes that the model was not trained on, in unit spheres, in the same table as the nearest
# training shape: a network that is no better than looking one up has learnt nothing.

# %%
evaluation = evaluate(run, clouds, draws=study["evaluation"]["draws"])
evaluation.write(here / "evaluation")
print("Evaluated on", evaluation.about["which"])
evaluation.table

# %%
for name in ("reconstructions", "samples", "interpolation"):
    study.figure(f"own_{name}", evaluation.figures[name], evaluation.captions[name])

# %% tags=["nbval-check-output"]
print("rows:", list(evaluation.metrics.index))
print("shapes left out of training:", evaluation.about["n"] > 1)

# %% [markdown]
# ## Take shapes home
#
# New shapes as clouds, in the unit of the meshes. Of sockets, `mesh="stl"` writes walls to print as well.

# %%
files, _ = outputs.generate(run, 5, here / "new", seed=study.seed, overwrite=True)
[file.name for file in files]

# %% [markdown]
# ## What was learnt
#
# Sentences made from the numbers above, for this source and profile.

# %%
mine, nearest = evaluation.metrics.iloc[0], evaluation.metrics.loc[model_report.NEAREST]
ratio = mine.chamfer / nearest.chamfer
study.conclude(
    f"{evaluation.about['n']} shapes that were not trained on are reconstructed at a Chamfer distance of "
    f"{mine.chamfer:.2g}; the nearest training shape is {nearest.chamfer:.2g} away: "
    + (
        "the network is the better description of them."
        if ratio < 1
        else "looking up a training shape is the better description; train longer, or on more shapes."
    ),
    f"Samples cover {mine.coverage:.0%} of these shapes, as many draws of training shapes "
    f"{nearest.coverage:.0%}; JSD {mine.jsd:.2g} and {nearest.jsd:.2g}. They are told from real shapes "
    f"with a 1-NN accuracy of {mine.one_nn_accuracy:.2f} (0.5 is best): "
    + (
        "a short training is enough for them."
        if mine.one_nn_accuracy < 0.7
        else "new shapes want longer training than this example has."
    ),
)
