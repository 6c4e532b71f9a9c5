"""Train a model on shapes: the one way, which goes on where an earlier call was cut off."""

import warnings
from contextlib import nullcontext
from dataclasses import asdict
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy.optimize import brentq
from tqdm.keras import TqdmCallback

from ..metrics.generative import jensen_shannon_divergence
from ..shapes.clouds import normalize, normals
from ..shapes.folders import digest
from ..shapes.writing import locked
from . import devices
from .autoencoder import AdversarialAutoencoder, optimizers_of
from .batches import batches
from .checked import checked
from .descent import descend
from .losses import ANY_DIRECTION, plane_distance
from .runs import Run, State, card_of, check_place, fingerprint, put_aside

_FINETUNING_BATCHES = 12  # whose codes are refined; with 6 the decoder learns them by heart
_NOISE_EXPONENTS = -10.0, -5.0  # of 10, between which the noise is sought, normalized units
_EVERY = 4  # points by which they are: the codes are as good, in less than half the time


@checked
class Settings:
    """
    How long a model is trained, and what its batches hold.

    Parameters
    ----------
    epochs, steps_per_epoch, batch_size : int
    first_selectable : int, optional
        Epochs before this one (counted from 0) are never selected; by default the first half.
    shape_models : sequence of ShapeModel
        The augmentation: part of each batch is drawn from them. None: real shapes only.
    share : float
        That part, [0, 1].
    limit : float
        Bound of the drawn weights, standard deviations.
    jitter : float
        Standard deviation of the noise on each coordinate, normalized units.
    rotate : bool
        Turn each shape about z by a random angle.
    seed : int
        Of the first weights and of every draw.

    Raises
    ------
    ValueError
        For a value out of range, naming it.
    """

    epochs: PositiveInt = 10
    steps_per_epoch: PositiveInt = 50
    batch_size: PositiveInt = 32
    first_selectable: int | None = None
    shape_models: tuple = ()
    share: Annotated[float, Field(ge=0, le=1)] = 0.8
    limit: Annotated[float, Field(gt=0)] = 2.5
    jitter: NonNegativeFloat = 0.0
    rotate: bool = False
    seed: int = 0

    def __post_init__(self):
        if self.first_selectable is None:
            object.__setattr__(self, "first_selectable", self.epochs // 2)
        if not 0 <= self.first_selectable < self.epochs:
            raise ValueError(
                f"first_selectable is {self.first_selectable}; it can be 0 to {self.epochs - 1}"
            )

    @property
    def n_steps(self):
        """Training steps of the whole run."""
        return self.epochs * self.steps_per_epoch


def train(shapes, parts, recipe, start, settings, path, about=None):
    """
    Train a model, keep its best epoch, and go on where an earlier call was cut off.

    The best epoch is the one whose samples of the prior have the lowest Jensen-Shannon divergence
    from the validation shapes, on unit-sphere shapes, as in the paper. Where the recipe says so,
    the decoder of that epoch then learns at refined codes (`finetune_decoder`).

    With several devices or hosts (`aaelib.models.devices.strategy`) replicas share each batch.
    With several hosts each makes the same call, after `devices.strategy()`, and `path` is in a
    folder that they share: the chief selects the epoch and writes the files. When a worker is lost,
    start all of them anew; they go on after the last epoch that was finished.

    Parameters
    ----------
    shapes : aaelib.shapes.Shapes
        mm.
    parts : dict
        "training", "validation" and, if there is one, "test" -> index array into `shapes`.
    recipe : Recipe
    start : Start
        Where the first weights come from.
    settings : Settings
    path : str or Path
        Where the best model goes (`.keras`); beside it go the history (`.csv`) and a card
        (`.json`). If they are there and belong to this very run, nothing is trained. Until then a
        folder (`.resume`) keeps what is needed to go on.
    about : dict, optional
        Further entries of the card; a run with a different card is a different run.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If a setting does not suit the recipe, or workers were not started alike.
    ConnectionError
        If another worker is lost.
    FileNotFoundError
        If a worker does not see the files of the chief.
    FloatingPointError
        If the loss is no longer finite.
    RuntimeError
        If another process trains to the same path.
    OSError
        If a file cannot be written; what was done by then is kept, to go on from. Before training,
        if files of no run are in the place of the history, the card or the state.
    """
    if recipe.standardized and settings.batch_size < 2:
        raise ValueError(
            f"batch_size is {settings.batch_size}, but recipe {recipe.name!r} standardizes codes "
            "over a batch, which takes 2 or more; give a larger batch, or set standardized=false"
        )
    path = Path(path)
    used = [shapes[parts[part]] for part in ("training", "validation")]
    card = _card(shapes, parts, recipe, start, settings) | (about or {})
    known_by = fingerprint(used, recipe, start, settings, card)
    with devices.lost_workers_explained():
        devices.agree(int(known_by[:7], 16), f"the run to {path}")
        with locked(path) if devices.is_chief() else nullcontext():
            before = card_of(path)
            if before.get("fingerprint") != known_by:
                done = before.get("settings", {}).get("epochs", settings.epochs)
                if done < settings.epochs:
                    warnings.warn(
                        f"{path} is a finished run of {done} epochs, by whose end its rates have "
                        f"fallen: {settings.epochs} epochs start anew, and their model replaces "
                        f"it. To go on from it, train to another file with --weights-from {path} "
                        "(Start(models.load(path)))",
                        stacklevel=2,
                    )
                check_place(path)
                _train(*used, recipe, start, settings, path, card, known_by)
        # Read back, so that this run and one that finds it finished give the same.
        return Run.read(path)


def _card(shapes, parts, recipe, start, settings):
    """What is written beside a model: its shapes, settings and recipe."""
    names = "epochs", "steps_per_epoch", "batch_size", "first_selectable", "jitter", "rotate"
    plain = {name: getattr(settings, name) for name in names} | {
        "networks": list(start.networks) if start.model is not None else [],
        "frozen": start.frozen,
        "shape_models": settings.share if settings.shape_models else 0.0,
        "recipe": asdict(recipe),
    }
    return {
        "source": shapes.source,
        "folder": shapes.folder,
        "seed": settings.seed,
        "settings": plain,
        "split": {
            part: {str(shapes.names[i]): digest(shapes.points[i]) for i in index}
            for part, index in parts.items()
        },
    }


def _train(training, validation, recipe, start, settings, path, card, known_by):
    """Do what is left of a run, and write its model and card."""
    folder = path.with_suffix(".resume")
    if devices.is_chief():
        put_aside(folder, known_by)
    devices.agree(0, "waiting for the chief")
    state = State(folder, known_by, settings.first_selectable)
    devices.agree(state.epoch, f"the number of epochs in {folder}")
    first = None if state.epoch else start.begin(training.points, recipe, settings.seed)
    with devices.strategy().scope():
        if state.epoch:
            aae = state.load(state.epoch - 1)
        else:
            aae = AdversarialAutoencoder.from_config(first.get_config())
            aae.set_weights(first.get_weights())
            aae.compile(*optimizers_of(recipe, settings.n_steps))

    draw = batches(training.points, aae.scale, settings, recipe.normalization)

    # Keras' ModelCheckpoint and BackupAndRestore save one optimizer's state only (keras#10806), and
    # a model of this kind has three: the state is kept by `AdversarialAutoencoder.save`.
    def keep(epoch, logs):
        row = {"epoch": epoch} | {name: float(value) for name, value in logs.items()}
        if not np.isfinite(row["chamfer"]):
            raise FloatingPointError(
                f"epoch {epoch}: the loss is not finite; lower the recipe's learning rates"
            )
        if devices.is_chief():
            state.keep(aae, row | {"val_jsd": prior_jsd(aae, validation.points)})

    if state.epoch < settings.epochs:
        # Mixed: clouds often come kind by kind, and a batch of one kind has statistics of its own.
        mixed = np.random.default_rng(0).permutation(aae.normalize(validation.points)[0])
        unseen = tf.data.Dataset.from_tensor_slices(mixed).batch(32)
        # Before each validation the moments by which codes are standardized are measured anew.
        calibration = list(draw(0, 4))
        aae.fit(
            devices.shared(draw(state.epoch * settings.steps_per_epoch, settings.n_steps)),
            validation_data=devices.repeated(unseen),
            validation_steps=len(unseen),
            initial_epoch=state.epoch,
            epochs=settings.epochs,
            steps_per_epoch=settings.steps_per_epoch,
            callbacks=[
                keras.callbacks.LambdaCallback(
                    on_test_begin=lambda logs: aae.calibrate(calibration), on_epoch_end=keep
                ),
                *[TqdmCallback(desc=path.stem, verbose=0)] * devices.is_chief(),
            ],
            shuffle=False,
            verbose=0,
        )
    if devices.is_chief():
        best = state.load(state.best)
        first = draw(0, min(settings.n_steps, _FINETUNING_BATCHES))
        finetune_decoder(best, np.concatenate([batch.numpy() for batch in first]), seed=best.seed)
        estimate_noise(best, best.normalize(validation.points)[0])
        state.finish(path, best, card)
    devices.agree(0, "waiting for the chief")


@cache
def step_seconds(recipe, batch_size):
    """Seconds that a training step takes here: the median of some, the first left out."""
    aae, times = AdversarialAutoencoder(recipe), []
    aae.compile()
    clouds = tf.random.stateless_normal((batch_size, recipe.n_points, 3), (0, 0), stddev=0.3)
    step = tf.function(aae.train_step)
    for _ in range(6):
        begun = perf_counter()
        step(clouds)["chamfer"].numpy()
        times.append(perf_counter() - begun)
    return float(np.median(times[1:]))


def prior_jsd(aae, shapes):
    """Jensen-Shannon divergence between samples of the prior and real shapes, in unit spheres."""
    samples = normalize(aae.sample(3 * len(shapes)), "unit-sphere")[0]
    return jensen_shannon_divergence(samples, normalize(shapes, "unit-sphere")[0])


def finetune_decoder(aae, clouds, batch_size=16, seed=0):
    """
    Let the decoder learn at refined codes, those that `reconstruct` will decode.

    In training it sees the encoder's codes, and what it decodes is blurred by their errors. Here
    the codes of some normalized clouds (n, n_points, 3) are refined once, by some of their points,
    and stay. Steps, rate and its fall are the recipe's. The encoder does not change.
    """
    r = aae.recipe
    if not r.finetuning_steps:
        return
    clouds = np.asarray(clouds, np.float32)
    arrays = [tf.constant(a) for a in (clouds, normals(clouds), aae.codes(clouds[:, ::_EVERY]))]
    rng = np.random.default_rng(seed)
    size = min(batch_size, len(clouds))
    chosen = [rng.choice(len(clouds), size, replace=False) for _ in range(r.finetuning_steps)]
    batches = tf.data.Dataset.from_tensor_slices(np.stack(chosen)).map(
        lambda rows: tuple(tf.gather(array, rows) for array in arrays)
    )

    def loss(points, towards, codes):
        # Half Chamfer, half point-to-plane distance, by one search for neighbours.
        distance = plane_distance(points, towards, aae.decoder(codes), 1 + ANY_DIRECTION)
        return r.reconstruction_weight * tf.reduce_mean(distance) / 2

    name = "decoder at refined codes"
    descend(aae.decoder.trainable_variables, loss, batches, r.finetuning_rate, name)


def estimate_noise(aae, clouds):
    """
    Set the noise of a model so that refined codes of unseen clouds have the prior's variance.

    With less noise codes of real shapes lie far out in the prior, where it has no draws; with more
    they shrink to its centre, where it has no variety (`refinement.refine`).

    Parameters
    ----------
    aae : AdversarialAutoencoder
        Its `noise` is set, as near to that as it can be; nothing is done if its recipe does not
        refine codes.
    clouds : (n, n_points, 3) array
        Normalized clouds that it was not trained on.
    """
    if not aae.recipe.refinement_steps:
        return

    @cache
    def excess(exponent):
        aae.noise = 10.0**exponent
        return np.mean(aae.codes(clouds) ** 2) / aae.recipe.prior_std**2 - 1

    # The variance falls as noise grows; with much noise the few steps of refinement no longer
    # converge, and it rises again. What is sought is the least noise that does.
    least, most = _NOISE_EXPONENTS
    exponent = least
    while excess(least) > 0 and most > least:
        if excess(most) > 0:
            exponent = min(exponent, most, key=excess)
            most -= 0.5
            continue
        exponent = brentq(excess, least, most, xtol=0.05)
        most = max(exponent - 0.5, least)
        if excess(most) > 0:
            break
    aae.noise = 10.0**exponent
