"""Shapes of one's own: what the command line adds to `models.train`."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..models import code, devices, exported, files, recipes, runs, starts, training, transfer
from ..models.recipes import NETWORKS
from ..shapes import folders, splits
from ..shapes.clouds import normalize
from ..shapes.shape_model import ShapeModel, transported
from ..shapes.sockets import check_sockets, fit_surfaces
from ..shapes.sources import KINDS

_LEAST_STEPS = 50  # of an epoch; fewer and most of the time goes into validation
# Shape models change slowly, as in the study: they start well, and codes need no critic.
_AT_SHAPE_MODELS = {"autoencoder_rate": 3e-5, "generator_rate": 3e-4, "finetuning_rate": 1e-4}
_AT_SHAPE_MODELS |= {"generator_weight": 0.0}
_SHAPE_MODEL_STEPS = 2000  # in which the encoder learns to read them


def train(
    folder, path, recipe, start, settings, *, shares, share, weights_from=None, up=None, unit=None
):
    """
    Train a model on a folder of shapes: `models.train` with the command line's defaults.

    Parameters
    ----------
    folder : Path
        Clouds (`.npy`) or meshes; the class of a shape is its first sub-folder.
    path : Path
        Of the model (`.keras`).
    recipe : tuple of (str, dict)
        A name or a YAML file, and entries to change (`recipes.recipe`).
    start : dict
        "networks", "frozen" of `Start`.
    settings : dict
        Of `Settings`; an epoch has by default (None) as many steps as all training shapes make, at
        least 50.
    shares : sequence of float
        Of training, validation and test shapes.
    share : float
        Part of each batch that is drawn from linear shape models of the training shapes, one a
        class, [0, 1]. Above 0 the decoder starts as them. For sockets in mm only.
    weights_from : str, optional
        A model to start from; of "pretrained" the one that suits the recipe.
    up, unit : str, optional
        Of the shapes, see `clouds.place`. Sockets that look as if these were others than z and mm
        are refused unless one is given. Closed walls are always refused.

    Returns
    -------
    Run
    """
    devices.strategy()  # workers have to find each other before anything is computed
    runs.check_place(path)
    if weights_from is not None and Path(weights_from).resolve() == path.resolve():
        raise ValueError(f"{path} would replace the weights that it starts from; name another file")
    source, changes = recipe
    recipe = recipes.recipe(source, **changes)
    # What is out of range is said before files are read and shape models fitted.
    networks = start.get("networks", NETWORKS)
    if unknown := [name for name in networks if name not in NETWORKS]:
        raise ValueError(f"no network {unknown[0]!r}; accepted: {', '.join(NETWORKS)}")
    model = None if weights_from is None else _to_start_from(weights_from, recipe, networks)
    first_cloud = model is None or "decoder" not in networks
    decoder = "shape models" if share else "cloud" if first_cloud else "as it is"
    start = starts.Start(model, decoder=decoder, steps=_SHAPE_MODEL_STEPS, **start)
    steps = settings.get("steps_per_epoch")
    settings = training.Settings(share=share, **settings | {"steps_per_epoch": steps or 1})
    shapes = folders.load_clouds(folder, recipe.n_points).placed(up, unit)
    if share or set(shapes.kinds) <= set(KINDS):
        check_sockets(shapes.points, shapes.files, refuse=not (up or unit))
    parts = splits.split(shapes.kinds, shares, settings.seed)
    training_shapes = shapes[parts["training"]]
    times = 1 if model is None else normalize(training_shapes.points)[1].scale / model.scale
    if start.frozen.get("encoder") and not 0.5 < times < 2:
        warnings.warn(
            f"{folder}: these shapes are {times:.3g} times as large as those of {weights_from}, "
            "and are scaled to them: a shape does not keep its code",
            stacklevel=2,
        )
    if share:
        fitted = shape_models(training_shapes, path.with_suffix(".shape_models"), settings.seed)
        defaults = {"linear_models": len(fitted)} | _AT_SHAPE_MODELS
        recipe = recipes.recipe(source, defaults, **changes)
        start, settings = (replace(each, shape_models=fitted) for each in (start, settings))
    all_shapes = -(-len(training_shapes) // settings.batch_size)
    settings = replace(settings, steps_per_epoch=steps or max(_LEAST_STEPS, all_shapes))
    about = {"weights_from": weights_from and str(weights_from), "up": up, "unit": unit}
    return training.train(shapes, parts, recipe, start, settings, path, about)


def _to_start_from(name, recipe, networks):
    """Load a model; for "pretrained" the first of those that come with the package and suit."""
    names = [each for each in exported.SHIPPED if name == "pretrained" and each.startswith(name)]
    found = [files.load(each) for each in names or [name]]

    def suits(model):
        return not any(transfer.differences(model.recipe, recipe, each) for each in networks)

    return next(filter(suits, found), found[0])


def shape_models(shapes, folder, seed):
    """
    Fit linear shape models, one a class, with the correspondence of the clouds.

    They are kept in a folder: the correspondence takes minutes, which a run that goes on does not
    spend again. Those of other clouds, seeds or code stay beside them, and are not read.
    """
    kinds, counts = np.unique(shapes.kinds, return_counts=True)
    if counts.min() < 2:
        advice = "a shape model takes 2 or more: add shapes, or train without shape models"
        raise ValueError(f"class '{kinds[counts.argmin()]}' has 1 training shape; {advice}")
    kept, made_by = [], code.digest_of("aaelib.shapes.shape_model")[:16]
    for kind in kinds:
        points = shapes.points[shapes.kinds == kind]
        kept.append(Path(folder) / f"{folders.digest(points)}-{seed}-{made_by}.npz")
        if devices.is_chief() and not kept[-1].exists():
            surfaces = fit_surfaces(points)
            transported(surfaces, points, points.shape[1], seed=seed).save(kept[-1])
    devices.agree(0, "waiting for the chief")
    return tuple(ShapeModel.load(file) for file in kept)
