"""Train a model on shapes: the one way, which goes on where an earlier call was cut off."""

import dataclasses
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ..metrics.generative import jensen_shannon_divergence
from ..shapes.clouds import normalize, normals
from ..shapes.folders import digest
from ..shapes.writing import locked
from . import devices
from .autoencoder import AdversarialAutoencoder
from .batches import batches
from .losses import chamfer_loss, plane_distance
from .progress import ProgressBar, WithoutMetrics
from .runs import Run, State, card_of, fingerprint, refuse_folders

_FINETUNING_BATCHES = 12  # whose codes are refined; with 6 the decoder learns them by heart
_EVERY = 4  # points by which they are: the codes are as good, in less than half the time


@dataclass(frozen=True)
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

    epochs: int = 10
    steps_per_epoch: int = 50
    batch_size: int = 32
    first_selectable: int | None = None
    shape_models: tuple = ()
    share: float = 0.8
    limit: float = 2.5
    jitter: float = 0.0
    rotate: bool = False
    seed: int = 0

    def __post_init__(self):
        if self.first_selectable is None:
            object.__setattr__(self, "first_selectable", self.epochs // 2)
        for name in ("epochs", "steps_per_epoch", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not 0 <= self.first_selectable < self.epochs:
            raise ValueError(
                f"first_selectable is {self.first_selectable}; it can be 0 to {self.epochs - 1}"
            )
        if not self.jitter >= 0:
            raise ValueError(f"jitter is {self.jitter}; it must be 0 or more")
        if not 0 <= self.share <= 1:
            raise ValueError(f"the share of shape models is {self.share}; it can be 0 to 1")

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
        If a file cannot be written; what was done by then is kept, to go on from.
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
            if card_of(path).get("fingerprint") != known_by:
                refuse_folders(path)
                _train(*used, recipe, start, settings, path, card, known_by)
        # Read back, so that this run and one that finds it finished give the same.
        return Run.read(path)


def _card(shapes, parts, recipe, start, settings):
    """What is written beside a model: its shapes, settings and recipe."""
    plain = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in ("shape_models", "share", "limit", "seed")
    }
    return {
        "source": shapes.source,
        "folder": shapes.folder,
        "seed": settings.seed,
        "settings": plain
        | {
            "networks": list(start.networks) if start.model is not None else [],
            "frozen": start.frozen,
            "shape_models": settings.share if settings.shape_models else 0.0,
            "recipe": dataclasses.asdict(recipe),
        },
        "split": {
            part: {str(shapes.names[i]): digest(shapes.points[i]) for i in index}
            for part, index in parts.items()
        },
    }


def _train(training, validation, recipe, start, settings, path, card, known_by):
    """Do what is left of a run, and write its model and card."""
    state = _state(path.with_suffix(".resume"), known_by)
    first = None if state.epoch else start.begin(training.points, recipe, settings.seed)
    with devices.scope():
        if state.epoch:
            aae = state.load(state.model)
        else:
            aae = AdversarialAutoencoder.from_config(first.get_config())
            aae.set_weights(first.get_weights())
            aae.compile(**optimizers(recipe, settings.n_steps))

    def draw(first_step, n_steps):
        return batches(
            training.points,
            aae.scale,
            n_steps,
            settings.batch_size,
            shape_models=settings.shape_models,
            share=settings.share,
            limit=settings.limit,
            jitter=settings.jitter,
            rotate=settings.rotate,
            normalization=recipe.normalization,
            first_step=first_step,
            seed=settings.seed,
        )

    if state.epoch < settings.epochs:
        unseen = _validation_batches(validation.points, aae)
        aae.fit(
            devices.shared(draw(state.epoch * settings.steps_per_epoch, settings.n_steps)),
            validation_data=devices.repeated(unseen.repeat()),
            validation_steps=len(unseen),
            initial_epoch=state.epoch,
            epochs=settings.epochs,
            steps_per_epoch=settings.steps_per_epoch,
            callbacks=[
                _Calibrate(draw(0, 4)),
                _SelectAndKeep(state, validation.points, settings.first_selectable),
                *[ProgressBar(path.stem, keep=True)] * devices.is_chief(),
            ],
            shuffle=False,
            verbose=0,
        )
    if devices.is_chief():
        best = state.load(state.best_model)
        first = draw(0, min(settings.n_steps, _FINETUNING_BATCHES))
        finetune_decoder(best, np.concatenate([batch.numpy() for batch in first]), seed=best.seed)
        state.finish(path, best, card)
    devices.agree(0, "waiting for the chief")


def _state(folder, known_by):
    """The state of a run; the chief looks at it first, and clears away that of another run."""
    state = State(folder, known_by) if devices.is_chief() else None
    devices.agree(0, "waiting for the chief")
    state = state or State(folder, known_by, clear=False)
    devices.agree(state.epoch, f"the number of epochs in {folder}")
    return state


def optimizers(recipe, n_steps):
    """The three optimizers of a recipe for a run of so many steps, as `compile` takes them."""

    def adam(rate, updates):
        if recipe.decay == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(rate, updates)
        return keras.optimizers.Adam(rate, beta_1=recipe.beta_1, beta_2=recipe.beta_2)

    return {
        "autoencoder_optimizer": adam(recipe.autoencoder_rate, n_steps),
        "discriminator_optimizer": adam(recipe.discriminator_rate, n_steps * recipe.critic_steps),
        "generator_optimizer": adam(recipe.generator_rate, n_steps),
    }


def _validation_batches(points, aae, size=32):
    """Normalized validation clouds in batches."""
    scale = aae.scale if aae.recipe.normalization == "dataset" else None
    clouds = normalize(points, aae.recipe.normalization, scale=scale)[0].astype(np.float32)
    # Mixed: clouds often come kind by kind, and a batch of one kind has other statistics than all.
    clouds = np.random.default_rng(0).permutation(clouds)
    return tf.data.Dataset.from_tensor_slices(clouds).batch(size)


def prior_jsd(aae, shapes, seed=0, per_shape=3):
    """Jensen-Shannon divergence between samples of the prior and real shapes, in unit spheres."""
    samples = normalize(aae.sample(per_shape * len(shapes), seed), "unit-sphere")[0]
    return jensen_shannon_divergence(samples, normalize(shapes, "unit-sphere")[0])


# Keras' ModelCheckpoint and BackupAndRestore save one optimizer's state only (keras#10806), and a
# model of this kind has three: the state is kept by `AdversarialAutoencoder.save`.
class _SelectAndKeep(keras.callbacks.Callback):
    """At the end of each epoch: score samples of the prior, keep the state, note the best."""

    def __init__(self, state, validation, first_selectable):
        super().__init__()
        self.state, self.validation, self.first_selectable = state, validation, first_selectable

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch} | {name: float(value) for name, value in logs.items()}
        if not np.isfinite(row["chamfer"]):
            raise FloatingPointError(
                f"epoch {epoch}: the loss is not finite; lower the recipe's learning rates"
            )
        if not devices.is_chief():
            return
        row["val_jsd"] = prior_jsd(self.model, self.validation)
        best, history = self.state.best, self.state.history
        better = best is None or row["val_jsd"] < history[best]["val_jsd"]
        self.state.keep(self.model, row, epoch >= self.first_selectable and better)


class _Calibrate(keras.callbacks.Callback):
    """Before each validation: measure anew by what codes are standardized."""

    def __init__(self, batches):
        super().__init__()
        self.batches = list(batches)

    def on_test_begin(self, logs=None):
        self.model.calibrate(self.batches)


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
    tuning = DecoderTuning(aae.decoder, r)
    rate = keras.optimizers.schedules.CosineDecay(r.finetuning_rate, r.finetuning_steps)
    tuning.compile(keras.optimizers.Adam(rate), jit_compile=False)
    tuning.fit(
        tf.data.Dataset.from_tensor_slices(np.stack(chosen)).map(
            lambda rows: tuple(tf.gather(array, rows) for array in arrays)
        ),
        callbacks=[ProgressBar("decoder at refined codes")],
        shuffle=False,
        verbose=0,
    )


class DecoderTuning(WithoutMetrics):
    """Learning of the decoder at fixed codes, by Chamfer and point-to-plane distance."""

    def __init__(self, decoder, recipe):
        super().__init__()
        self.decoder, self.recipe = decoder, recipe

    def train_step(self, points, towards, codes):
        """One batch: clouds and their normals (n, n_points, 3), and codes (n, code_size)."""
        with tf.GradientTape() as tape:
            decoded = self.decoder(codes)
            distance = chamfer_loss(points, decoded) + plane_distance(points, towards, decoded)
            loss = self.recipe.reconstruction_weight * tf.reduce_mean(distance) / 2
        variables = self.decoder.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
