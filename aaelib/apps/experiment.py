"""Shapes of one's own: train on a folder, evaluate on one, generate, interpolate, take home."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..models import autoencoder, batches, devices, files, latent, networks, training, transfer
from ..models.recipes import _is_file, _read_recipe, load_recipe
from ..shapes import folders, printing, sources
from ..shapes.clouds import normalize
from ..shapes.shape_model import ShapeModel, transported
from ..shapes.sockets import SocketSurface, check_sockets, fit_surfaces
from ..shapes.splits import PARTS, _interleaved, split
from ..shapes.writing import replacing
from ..study import evaluation, figures

NEAREST = evaluation.NEAREST  # what its tables call that baseline
NETWORKS = networks.NETWORKS
MESHES = tuple(suffix[1:] for suffix in printing.FORMATS)

_LEAST_STEPS = 50  # of an epoch; fewer and most of the time goes into validation

_SMOOTHING = 0.1  # of a surface: a decoder's points scatter about it more than a scan's


# With shape models the decoder stays as it starts while the encoder learns, and changes little
# after, as in the study's best condition.
_SHAPE_MODEL_RATES = {"autoencoder_rate": 0.0, "finetuning_rate": 1e-4}


def _known(card, folder, shapes):
    """
    Which shapes of a folder a model was trained on, selected by and kept from: part -> mask.

    A shape is known by its points, wherever its file lies, and in the folder that the model was
    trained on also by its name: there it may have been saved anew. Empty if the card does not tell.
    """
    if "split" not in card:
        return {}
    digests = [folders.digest(cloud) for cloud in shapes.points]
    members = {part: card["split"].get(part, {}) for part in PARTS}
    return {
        part: np.isin(digests, list(members[part].values()))
        | (np.isin(shapes.names, list(members[part])) & _is_of(card, folder))
        for part in PARTS
    }


def _is_of(card, folder):
    """Whether a model was trained on that very folder."""
    return card.get("folder") == str(Path(folder).resolve())


def _namesakes(card, shapes, known):
    """
    Which shapes are not known, but have the name of one that a model was trained on or selected by.

    They may be the same, resampled: the clouds of the meshes that it was trained on, say.
    """
    if not known:
        return np.zeros(len(shapes), bool)
    names = [name for part in PARTS[:2] for name in card["split"].get(part, {})]
    return np.isin(shapes.names, names) & ~np.any(list(known.values()), axis=0)


def _files(shapes, folder):
    """The file of each of some shapes of a folder."""
    files = {file.relative_to(folder).with_suffix(""): file for file in folders.find(folder)}
    return [files[Path(name)] for name in shapes.names]


# Training -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """
    A finished training run.

    Attributes
    ----------
    model : aaelib.models.AdversarialAutoencoder
        Of the selected epoch.
    history : pandas.DataFrame
        A row an epoch: training values, `val_...` and `val_jsd`.
    best_epoch : int
        The selected one, counted from 0.
    card : dict
        What is written beside the model: source, settings, and in "split" the names of the shapes
        of each part.
    """

    model: autoencoder.AdversarialAutoencoder
    history: pd.DataFrame
    best_epoch: int
    card: dict

    def curves(self):
        """How training went (plotly figure)."""
        name = self.model.recipe.name
        shown = {
            "chamfer": "Chamfer distance, training",
            "val_chamfer": "Chamfer distance, validation",
            "val_jsd": "JSD of samples, validation",
            "val_discriminator_accuracy": "accuracy of the discriminator",
        }
        return figures.training_curves({name: self.history}, shown, {name: self.best_epoch})


def train(
    folder,
    path,
    recipe="compact",
    changes=None,
    shares=(0.8, 0.1, 0.1),
    seed=0,
    epochs=10,
    steps=None,
    batch_size=32,
    first_selectable=None,
    rotate=False,
    jitter=0.0,
    weights_from=None,
    networks=NETWORKS,
    frozen=None,
    shape_models=0.0,
):
    """
    Train a model on a folder of shapes, or go on where an earlier call was cut off.

    The model of the epoch whose samples are most like the validation shapes is kept, see
    `aaelib.training.train`.

    Parameters
    ----------
    folder : str or Path
        Clouds (`.npy`) or meshes; the class of a shape is its first sub-folder.
    path : str or Path
        Of the model (`.keras`). Beside it go the history (`.csv`) and a card (`.json`) that names
        the shapes of each part.
    recipe : str or Path
        See `load_recipe`.
    changes : dict, optional
        Entries of the recipe to replace.
    shares : sequence of float
        Of training, validation and test, see `split`.
    seed : int
        Of the split, the first weights, and every draw.
    epochs : int
    steps : int, optional
        Batches of an epoch; by default as many as all training shapes make, 50 at least.
    batch_size : int
    first_selectable : int, optional
        Epochs before this one (counted from 0) are never selected; by default the first half.
    rotate : bool
        Turn each shape about z by a random angle.
    jitter : float
        Standard deviation of the noise on each coordinate, in units of the largest training shape's
        radius (of each shape's own with "unit-sphere" normalization).
    weights_from : str or Path, optional
        A model whose weights training starts from: a file, "sockets" or "pretrained". Its networks
        must be as large as the recipe's. Sizes are still those of the new shapes.
    networks : sequence of {"encoder", "decoder", "discriminator"}
        Which of its networks to take.
    frozen : dict, optional
        Network -> name of its last layer that does not learn.
    shape_models : float
        Share of each batch that is drawn from linear shape models of the training shapes, one a
        class, [0, 1); where above 0 the decoder starts as them, and they are kept beside the model
        (in a folder, `.shape_models`). For sockets in mm only.

    Returns
    -------
    Run

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or nothing in it to read.
    ValueError
        If a shape can't be read, there are too few of them, or a setting is out of range.
    """
    devices.strategy()  # workers have to find each other before anything is computed
    path = _checked_suffix(path, (".keras",), "a model")
    changes = changes or {}
    given = changes.keys() | (_read_recipe(Path(recipe)).keys() if _is_file(recipe) else set())
    recipe = load_recipe(recipe, **changes)
    _check_settings(recipe, epochs, steps, batch_size, jitter, shape_models, weights_from, networks)
    shapes = folders.load_clouds(folder, recipe.n_points)
    parts = _split(shapes, folder, shares, seed)
    training_shapes = shapes[parts["training"]]
    fitted = {}
    if shape_models:
        check_sockets(shapes.points, _files(shapes, folder))
        fitted = _shape_models(training_shapes, path.with_suffix(".shape_models"), seed)
        recipe = _for_shape_models(recipe, len(fitted), given)
    aae = _start(recipe, training_shapes, seed, frozen or {}, weights_from, networks, fitted)
    steps = steps or max(_LEAST_STEPS, -(-len(training_shapes) // batch_size))
    first_selectable = epochs // 2 if first_selectable is None else first_selectable

    def draw(first_step, n_steps):
        return batches.batches(
            training_shapes.points,
            aae.scale,
            n_steps,
            batch_size,
            shape_models=tuple(fitted.values()),
            share=shape_models,
            jitter=jitter,
            rotate=rotate,
            normalization=recipe.normalization,
            first_step=first_step,
            seed=seed,
        )

    card = {
        "source": shapes.source,
        "folder": str(Path(folder).resolve()),
        "seed": seed,
        "settings": {
            "epochs": epochs,
            "steps": steps,
            "batch_size": batch_size,
            "first_selectable": first_selectable,
            "rotate": rotate,
            "jitter": jitter,
            "weights_from": None if weights_from is None else str(weights_from),
            "networks": list(networks) if weights_from is not None else [],
            "frozen": aae.frozen,
            "shape_models": shape_models,
            "recipe": dataclasses.asdict(recipe),
        },
        "split": {
            part: {str(shapes.names[i]): folders.digest(shapes.points[i]) for i in index}
            for part, index in parts.items()
        },
    }
    validation = shapes.points[parts["validation"]]
    aae, history, best = training.train(
        aae, draw, validation, path, epochs, steps, first_selectable, card
    )
    return Run(aae, history, best, training.card_of(path))


def _check_settings(
    recipe, epochs, steps, batch_size, jitter, shape_models, weights_from, networks
):
    least = {"epochs": epochs, "steps": steps or 1, "batch_size": batch_size}
    for name, value in least.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more")
    if recipe.standardized and batch_size < 2:
        raise ValueError(
            f"batch_size is {batch_size}, but recipe {recipe.name!r} standardizes codes over a "
            "batch, which takes 2 or more; give a larger batch, or set standardized=false"
        )
    if not jitter >= 0:
        raise ValueError(f"jitter is {jitter}; it must be 0 or more")
    if not 0 <= shape_models < 1:
        raise ValueError(
            f"the share of shape models is {shape_models}; it can be 0 to below 1: a batch has "
            "real shapes, too"
        )
    if unknown := sorted(set(networks) - set(NETWORKS)):
        raise ValueError(f"unknown networks {unknown}; accepted: {NETWORKS}")
    if shape_models and weights_from is not None and "decoder" in networks:
        raise ValueError(
            "the decoder can start from shape models or from another model's weights, not from "
            "both; take only the encoder and the discriminator of that model, or no shape models"
        )


def _split(shapes, folder, shares, seed):
    try:
        return split(shapes.kinds, shares, seed)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error


def _shape_models(shapes, folder, seed):
    """Class -> ShapeModel, with the correspondence of the clouds; from the folder where it is."""
    kinds, counts = np.unique(shapes.kinds, return_counts=True)
    if counts.min() < 2:
        raise ValueError(
            f"class {str(kinds[counts.argmin()])!r} has {counts.min()} training shape; a shape "
            "model takes 2 or more: add shapes, or train without shape models"
        )
    files = {}
    for kind in map(str, kinds):
        points = shapes.points[shapes.kinds == kind]
        # The correspondence takes minutes, which a run that goes on does not spend again.
        files[kind] = folder / f"{kind}-{folders.digest(points)}-{seed}.npz"
        if devices.is_chief() and not files[kind].exists():
            surfaces = fit_surfaces(points)
            transported(surfaces, points, points.shape[1], seed=seed).save(files[kind])
    devices.wait()
    return {kind: ShapeModel.load(file) for kind, file in files.items()}


def _for_shape_models(recipe, n_models, given):
    """A recipe for a decoder that starts as shape models, but for the entries that were given."""
    needed = {"linear_models": n_models} | _SHAPE_MODEL_RATES
    return dataclasses.replace(
        recipe, **{key: value for key, value in needed.items() if key not in given}
    )


def _start(recipe, shapes, seed, frozen, weights_from, networks, shape_models):
    """A model as it is before training."""
    scale = normalize(shapes.points)[1].scale
    aae = autoencoder.AdversarialAutoencoder(recipe, scale, seed, frozen)
    if weights_from is not None:
        transfer.start_from(aae, files.load(weights_from), networks)
    if shape_models:
        training.start_at_shape_models(aae, list(shape_models.values()), seed=seed)
    elif weights_from is None or "decoder" not in networks:
        fixed_scale = aae.scale if recipe.normalization == "dataset" else None
        first = normalize(shapes.points[:1], recipe.normalization, scale=fixed_scale)[0]
        transfer.start_decoder_at(aae, first[0])
    return aae


# Evaluation -----------------------------------------------------------------------------------


def evaluate(model, folder, draws=3, seed=1000, everything=False, sockets=None, limit=200):
    """
    Every metric and figure of a model on a folder of shapes, baselines beside it.

    Parameters
    ----------
    model : str, Path, Run or AdversarialAutoencoder
        A `.keras` or `.npz` file, "sockets" or "pretrained", or what `train` gave.
    folder : str or Path
        Clouds or meshes, in the unit of the model's training shapes.
    draws : int
        How often samples of the prior are drawn, `baselines.DRAWN_PER_SOCKET` for each shape.
    seed : int
        Of the first draw; the next ones have the next. By default other draws than those by which
        epochs are selected.
    everything : bool
        Shapes that the model was trained on, or selected by, as well. A shape of another folder
        than that which the model was trained on is taken for one of these where it has the points
        of one or its name (path in the folder): it may be the same, resampled.
    sockets : bool, optional
        Whether the shapes are sockets in mm, z up, with errors in mm on their surfaces; by default
        if all classes are "TT" or "TF".
    limit : int
        At most that many shapes, classes in proportion, drawn by `seed`, and for the baselines
        `evaluation.TRAINED_PER_SHAPE` times as many training shapes at most: time grows with its
        square.

    Returns
    -------
    aaelib.evaluation.Evaluation

    Raises
    ------
    FileNotFoundError
        If there is no such model or folder.
    ValueError
        If a file can't be read, or fewer than two shapes are there to evaluate.
    """
    for name, value in {"draws": draws, "limit": limit}.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more")
    aae, card, name = load_model(model)
    shapes = folders.load_clouds(folder, aae.recipe.n_points)
    known = _known(card, folder, shapes)
    namesakes = _namesakes(card, shapes, known)
    chosen, which = _chosen(known, namesakes, everything, folder)
    if known and not _is_of(card, folder):
        which += " (as far as points and names tell)"
    if len(chosen) > limit:
        chosen, which = _drawn(shapes, chosen, limit, seed), f"{which}, {limit} of them drawn"
    if earlier := card.get("settings", {}).get("weights_from"):
        which += f"; it started from the weights of {Path(earlier).name}, which may have seen them"
    is_trained = known.get("training", np.zeros(len(shapes), bool))
    trained = np.flatnonzero(is_trained)
    return evaluation.evaluate(
        aae,
        name,
        shapes[chosen],
        _files(shapes[chosen], folder),
        trained=shapes[_drawn(shapes, trained, evaluation.TRAINED_PER_SHAPE * limit, seed)],
        n_trained=len(trained),
        is_new=~(is_trained | namesakes)[chosen],
        seeds=range(seed, seed + draws),
        sockets=set(shapes.kinds) <= set(sources.KINDS) if sockets is None else sockets,
        about={
            "which": which,
            "folder": str(folder),
            "source": shapes.source,
            "trained_on": card.get("source"),
        },
    )


def _drawn(shapes, index, limit, seed):
    """At most so many of some shapes, classes in proportion."""
    if len(index) <= limit:
        return index
    return np.sort(index[_interleaved(shapes.kinds[index], seed)[:limit]])


def _chosen(known, namesakes, everything, folder):
    """Indices of the shapes to evaluate, and a sentence part that says which they are."""
    n, doubtful = len(namesakes), int(namesakes.sum())
    chosen = np.arange(n)
    if not known:
        which = f"all {n} shapes; which of them the model was trained on is not known"
    elif everything:
        used = known["training"] | known["validation"]
        which = f"all {n} shapes; the model was trained on or selected by {used.sum()}"
        which += f", and {doubtful} more have names of such" if doubtful else ""
    else:
        chosen = np.flatnonzero(~(known["training"] | known["validation"] | namesakes))
        which = (
            f"the {len(chosen)} of {n} shapes that the model was neither trained on nor selected by"
        )
        which += f", without {doubtful} that have names of such" if doubtful else ""
    if len(chosen) < 2:
        raise ValueError(
            f"{folder}: {which}, and 2 or more are needed to evaluate; name a folder with others, "
            "or evaluate all, those it was trained on as well (--all)"
        )
    return chosen, which


# What comes out -------------------------------------------------------------------------------


def load_model(model):
    """
    A model, with what is known of it.

    Parameters
    ----------
    model : str, Path, Run or AdversarialAutoencoder
        A `.keras` or `.npz` file, "sockets" or "pretrained", or what `train` gave.

    Returns
    -------
    aae : aaelib.models.AdversarialAutoencoder
    card : dict
        What is written beside it; empty where there is none.
    name : str
        What to call it.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it holds no model.
    """
    if isinstance(model, Run):
        return model.model, model.card, model.model.recipe.name
    if isinstance(model, autoencoder.AdversarialAutoencoder):
        return model, {}, model.recipe.name
    card = {} if model in files.SHIPPED else training.card_of(Path(model))
    return files.load(model), card, Path(model).stem


def generate(model, n, folder, seed=0, mesh=None, thickness=4.0):
    """
    Write samples of the prior as clouds, and as walls to print where they are sockets.

    Parameters
    ----------
    model : str, Path, Run or AdversarialAutoencoder
        See `load_model`.
    n : int
        How many, 1 or more.
    folder : str or Path
        For `sample_0000.npy`, ...: (n_points, 3) float32 around the origin, in the unit of the
        model's training shapes, or in the unit sphere with "unit-sphere" normalization. What there
        is of such names and their walls from before is replaced or removed.
    seed : int
        Of the draws; the first of more samples are those of fewer.
    mesh : {"stl", "3mf", "ply"}, optional
        Write closed walls in that format as well, for sockets in mm.
    thickness : float
        Of the walls, mm: above 0, up to 20.

    Returns
    -------
    files : list of Path
        What was written.
    refused : list of (Path, str)
        Walls that there are not, and why; their clouds are written.

    Raises
    ------
    ValueError
        If `n`, `mesh` or `thickness` is another, or the model's shapes have no size.
    """
    if n < 1:
        raise ValueError(f"n is {n}; it must be 1 or more")
    aae = load_model(model)[0]
    _check_mesh(aae, mesh, thickness)
    clouds = aae.sample(n, seed)
    return _write_shapes(clouds, Path(folder), "sample_{:04d}", mesh, thickness)


def interpolate(model, a, b, folder, steps=5, mesh=None, thickness=4.0):
    """
    Write shapes between two: clouds, and a page with a slider.

    Parameters
    ----------
    model : str, Path, Run or AdversarialAutoencoder
        See `load_model`.
    a, b : str or Path
        Files of a cloud or a mesh, in the unit of the model's training shapes.
    folder : str or Path
        For `step_0.npy`, ..., as in `generate`, and `interpolation.html`, which needs no network.
    steps : int
        2 or more, the reconstructions of both ends included.
    mesh, thickness
        As in `generate`.

    Returns
    -------
    files, refused
        As in `generate`.

    Raises
    ------
    ValueError
        If a file can't be read, or as in `generate`.
    """
    aae, folder = load_model(model)[0], Path(folder)
    _check_mesh(aae, mesh, thickness)
    codes = aae.encode(np.stack([_read(file, aae.recipe.n_points) for file in (a, b)]))
    clouds = aae.decode(latent.interpolate(*codes, steps))
    files, refused = _write_shapes(clouds, folder, "step_{}", mesh, thickness)
    shares = [f"{share:.0%}" for share in np.linspace(0, 1, steps)]
    labels = [Path(a).stem, *shares[1:-1], Path(b).stem]
    page = folder / "interpolation.html"
    figures.write_html(figures.interpolation(clouds, labels), page)
    return [*files, page], refused


def export(source, path, thickness=4.0, smoothing=_SMOOTHING, n_points=2048):
    """
    Take a socket home as a wall to print or as its measures, or a model as its weights.

    Parameters
    ----------
    source : str or Path
        A cloud (`.npy`) or a mesh of a socket's inner surface: mm, z up, the closed end down; for
        weights a model (`.keras`).
    path : str or Path
        Its suffix says what is written: `.stl`, `.3mf` or `.ply` a closed wall, `.csv` measures,
        `.npz` a model's weights, without what training needs.
    thickness : float
        Of the wall, mm: above 0, up to 20.
    smoothing : float
        Of the surface through the points, 0 or more, see `SocketSurface.from_points`.
    n_points : int
        To fit the surface to, 100 or more; a cloud must have as many.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a file, the suffix is another, or there is no such wall.

    Warns
    -----
    UserWarning
        If the socket looks as if it were in another unit than mm, or upside down.
    """
    path = _checked_suffix(path, (*printing.FORMATS, ".csv", ".npz"), "an export")
    is_model = Path(source).suffix in (".keras", ".npz") or source in files.SHIPPED
    if is_model != (path.suffix.lower() == ".npz"):
        raise ValueError(
            f"{source} can't be written as {path.suffix}: a model (.keras) is written as .npz, a "
            "socket's cloud or mesh as .stl, .3mf, .ply or .csv; `generate` makes clouds of a model"
        )
    if is_model:
        files.export_weights(files.load(source), path)
        return path
    points = _read(source, n_points)
    check_sockets(points[None], [source])
    surface = SocketSurface.from_points(points, smoothing=smoothing)
    if path.suffix.lower() == ".csv":
        return printing.export_measurements(surface, path)
    return printing.export(surface, path, thickness)


def _read(file, n_points):
    if not Path(file).is_file():
        raise FileNotFoundError(f"no file {file}; name a cloud (.npy) or a mesh")
    return folders.read(Path(file), n_points)


def _check_mesh(aae, mesh, thickness):
    if mesh is None:
        return
    if mesh not in MESHES:
        raise ValueError(f"mesh is {mesh!r}; walls are written as {', '.join(MESHES)}")
    if not 0 < thickness <= printing.MAX_THICKNESS:
        raise ValueError(
            f"thickness is {thickness} mm; a wall has more than 0 and up to "
            f"{printing.MAX_THICKNESS} mm"
        )
    if aae.recipe.normalization != "dataset":
        raise ValueError(
            f"the model's normalization is {aae.recipe.normalization!r}: its shapes have no size "
            'in mm, so there are no walls to print; train one with normalization "dataset"'
        )


def _write_shapes(clouds, folder, pattern, mesh, thickness):
    """
    Write clouds and their walls; return the files, and the walls that there are not.

    What an earlier call left under such names goes: it may be of another model.
    """
    files, refused = [], []
    for i, cloud in enumerate(clouds):
        file = folder / f"{pattern.format(i)}.npy"
        # First of all, so that no wall is ever beside the cloud of another.
        _remove(file.with_suffix(suffix) for suffix in printing.FORMATS)
        with replacing(file) as temporary:
            np.save(temporary, cloud)
        files.append(file)
        if mesh is None:
            continue
        wall = file.with_suffix(f".{mesh}")
        try:
            surface = SocketSurface.from_points(cloud, smoothing=_SMOOTHING)
            files.append(printing.export(surface, wall, thickness))
        except ValueError as error:
            refused.append((wall, str(error)))
    _remove(_further(folder, pattern, len(clouds)))
    return files, refused


def _further(folder, pattern, n):
    """Clouds and walls, numbered as by a pattern, from a number on."""
    prefix = pattern.partition("{")[0]
    for file in sorted(folder.glob(f"{prefix}*")):
        number = file.stem.removeprefix(prefix)
        ours = number.isdecimal() and file.stem == pattern.format(int(number))
        if ours and int(number) >= n and file.suffix in (".npy", *printing.FORMATS):
            yield file


def _remove(files):
    for file in files:
        if file.is_file():
            file.unlink()


def _checked_suffix(path, suffixes, what):
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(
            f"{str(path)!r} has the suffix {path.suffix!r}; {what} is written as "
            f"{', '.join(suffixes)}"
        )
    return path
