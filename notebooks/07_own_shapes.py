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
# This notebook trains a model on a folder of your own meshes. The steps are the same for any
# shapes: make clouds of points, train from the pre-trained weights, evaluate on shapes that were
# held out, and draw new shapes.
#
# Set the environment variable `AAELIB_SHAPES` to your folder, or write its path in the next cell.
# Without a folder, the notebook makes an example. Each step is also a command of
# `python -m aaelib`: `resample`, `train`, `evaluate`, `generate`, `interpolate`, `export`.

# %% tags=["parameters"]
import os

profile = os.environ.get("AAELIB_PROFILE", "default")
own = os.environ.get("AAELIB_SHAPES")  # meshes or clouds, a sub-folder for each class

# %%
from aaelib import models, shapes
from aaelib.apps import outputs
from aaelib.shapes import corpus
from aaelib.study import Study, evaluate, figures, model_report

study = Study(profile, "07_own_shapes")
settings = study["own_shapes"]
here = study.own_shapes(own or "example")

# %% [markdown]
# ## Meshes become clouds
#
# The networks read clouds with a fixed number of points. We spread the points evenly over the
# surface of each mesh and keep the structure of your folders. Any format that trimesh reads is
# accepted. A file that cannot be read is left out and listed with the reason. A cloud that exists
# from an earlier run is kept if it was made of the same file. Clouds of other files are not loaded.

# %%
families = ("bowl", "goblet", "vase")
meshes = own or corpus.export(here / "meshes", settings["n_per_family"], families, study.seed)
study.source = f"folder {own}" if own else "procedural vessels (an example)"
resampled = shapes.resample_tree(meshes, here / "clouds", seed=study.seed)
print(f"{len(resampled.clouds)} clouds, {len(resampled.refused)} files left out")
for file, why in resampled.refused:
    print(f"{file}: {why}")

# %% [markdown]
# Check here that your shapes look right.

# %%
clouds = shapes.load_clouds(here / "clouds", files=resampled.clouds)
some = list(range(0, len(clouds), max(1, len(clouds) // 10)))[:10]
study.figure(
    "own_shapes",
    figures.cloud_gallery(clouds.points[some], clouds.names[some]),
    f"{len(some)} of the {len(clouds)} shapes, as clouds of {clouds.points.shape[1]} points, all "
    "at one scale.",
)

# %% [markdown]
# ## Train
#
# All three networks start from the weights that notebook 2 pre-trained on other shapes. We split
# the clouds at random, class by class. Most are for training. Some are for validation: they choose
# the best epoch. The rest are test shapes for the evaluation below.
#
# The model, its history and a list of the shapes in each part are saved. If training is
# interrupted, run the cell again and it continues. If it is complete, the saved model is loaded.

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
    "Training by epoch; the marker is the selected epoch. Chamfer distance and JSD are better when "
    "lower. An accuracy of 0.5 means that the discriminator cannot tell codes from the prior.",
)

# %% [markdown]
# ## Evaluate
#
# We evaluate the model on the test shapes, each scaled to the unit sphere. The baseline takes the
# nearest training shape in place of a reconstruction, and training shapes in place of samples. A
# network is useful only if it is better than this baseline.

# %%
evaluation = evaluate(run, clouds, draws=study["evaluation"]["draws"])
evaluation.write(here / "evaluation")
print("Evaluated on", evaluation.about["which"])
evaluation.table

# %% [markdown]
# The figures show reconstructions of test shapes, random samples, and an interpolation between two
# test shapes.

# %%
for name in ("reconstructions", "samples", "interpolation"):
    study.figure(f"own_{name}", evaluation.figures[name], evaluation.captions[name])

# %% tags=["nbval-check-output"]
print("rows:", list(evaluation.metrics.index))
print("shapes left out of training:", evaluation.about["n"] > 1)

# %% [markdown]
# ## Save new shapes
#
# We draw five new shapes and save them as clouds, in the unit of your meshes. If your shapes are
# sockets, `mesh="stl"` also writes walls to print.

# %%
files, _ = outputs.generate(run, 5, here / "new", seed=study.seed, overwrite=True)
[file.name for file in files]

# %% [markdown]
# ## What was learnt
#
# These sentences are written from the numbers above, for this source and profile.

# %%
mine, nearest = evaluation.metrics.iloc[0], evaluation.metrics.loc[model_report.NEAREST]
ratio = mine.chamfer / nearest.chamfer
study.conclude(
    f"{evaluation.about['n']} test shapes are reconstructed with a mean Chamfer distance of "
    f"{mine.chamfer:.2g}. The nearest training shapes are {nearest.chamfer:.2g} away. "
    + (
        f"So the error of the network is {1 - ratio:.0%} smaller."
        if ratio < 1
        else f"So the error of the network is {ratio:.1f} times as large. Train longer, or on more "
        "shapes."
    ),
    f"Samples cover {mine.coverage:.0%} of the test shapes, and as many training shapes cover "
    f"{nearest.coverage:.0%}. The JSD to the test shapes is {mine.jsd:.2g} for samples and "
    f"{nearest.jsd:.2g} for training shapes (lower is better).",
    f"The 1-NN accuracy of telling samples from test shapes is {mine.one_nn_accuracy:.2f} (0.5 is "
    f"best; training shapes have {nearest.one_nn_accuracy:.2f}). "
    + (
        "Samples and test shapes are hard to tell apart."
        if mine.one_nn_accuracy < 0.7
        else "Samples differ from test shapes. Longer training may help."
    ),
)
