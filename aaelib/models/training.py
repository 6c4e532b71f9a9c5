"""What a run is made of: optimizers, the best epoch by validation JSD, and how it resumes."""

import hashlib
import json
import os
import shutil
import warnings
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from tqdm.auto import tqdm

from ..metrics.generative import jensen_shannon_divergence
from ..shapes import splits
from ..shapes.clouds import normalize, normals
from ..shapes.writing import locked, refuse_folder, replacing
from . import autoencoder, batches, devices, files, losses, networks, transfer
from .losses import chamfer_loss

_FINETUNING_BATCHES = 12  # whose codes are refined; with 6 the decoder learns them by heart
_EVERY = 4  # points by which they are: the codes are as good, in less than half the time

# What a finished run depends on besides its inputs: with other code it is trained again.
_CODE = ("shapes", "metrics", "models")


def optimizers(recipe, n_steps):
    """
    The three optimizers of a recipe for a run of known length, as `compile` takes them.

    Parameters
    ----------
    recipe : aaelib.models.Recipe
    n_steps : int
        Training steps of the whole run.

    Returns
    -------
    dict
    """

    def adam(rate, updates):
        if recipe.decay == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(rate, updates)
        return keras.optimizers.Adam(rate, beta_1=recipe.beta_1, beta_2=recipe.beta_2)

    return {
        "autoencoder_optimizer": adam(recipe.autoencoder_rate, n_steps),
        "discriminator_optimizer": adam(recipe.discriminator_rate, n_steps * recipe.critic_steps),
        "generator_optimizer": adam(recipe.generator_rate, n_steps),
    }


def start_at_shape_models(aae, shape_models, n_steps=200, batch_size=32, limit=2.5, seed=0):
    """
    Let a model start as linear shape models: the decoder is them, the encoder learns to read them.

    The decoder is set (`transfer.start_decoder_at_models`). Of sockets drawn from the
    shape models the weights, and so the codes, are known: the encoder learns to give them, by least
    squares. From there `train` goes on.

    Parameters
    ----------
    aae : AdversarialAutoencoder
        Not compiled yet.
    shape_models : sequence of ShapeModel
        One a kind of shape, as many as the recipe's `linear_models`; each has a share of the prior
        like its part of all surfaces fitted.
    n_steps, batch_size : int
        Of the encoder's regression; 0 steps leave the encoder as it is.
    limit : float
        Bound of the drawn weights, standard deviations.
    seed : int
    """
    r = aae.recipe
    bases = [_normalized_basis(model, r.n_points, aae.scale, seed) for model in shape_models]
    # Clouds of two kinds are blended point by point: let points of about the same place meet.
    places = bases[0][0][0]
    orders = [linear_sum_assignment(cdist(places, mean[0], "sqeuclidean"))[1] for mean, _ in bases]
    shares = np.array([model.n_surfaces_ for model in shape_models], float)
    shares /= shares.sum()
    starts = [(mean[0, o], modes[0][:, o]) for (mean, modes), o in zip(bases, orders, strict=True)]
    transfer.start_decoder_at_models(aae, starts, shares)
    if not n_steps:
        return

    ends = np.concatenate([[0], np.cumsum(shares)[:-1], [1]]).astype(np.float32)
    # Kinds as the prior has them: what standardizes codes cannot shift them.
    sizes = splits.proportional_counts(batch_size, [model.n_surfaces_ for model in shape_models])
    first = transfer.first_weight(len(bases))
    variables = aae.encoder.trainable_variables
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, n_steps))
    optimizer.build(variables)

    @tf.function
    def step(number):
        points, codes = [], []
        for i, ((mean, modes), size) in enumerate(zip(bases, sizes, strict=True)):
            keys = tf.random.experimental.stateless_split(tf.stack([seed + 1000 * i, number]), 3)
            clouds, weights = batches.draw_clouds(mean, modes, size, limit, keys[0])
            # A number of the code that no mode has is any draw of the prior.
            free = tf.random.stateless_normal([size, r.code_size], keys[1])
            code = tf.concat([weights, free], axis=1)[:, : r.code_size - first]
            if first:
                share = tf.random.stateless_uniform([size, 1], keys[2], ends[i], ends[i + 1])
                code = tf.concat([tf.math.ndtri(tf.clip_by_value(share, 1e-3, 1 - 1e-3)), code], 1)
            points.append(clouds)
            codes.append(r.prior_std * code)
        order = tf.random.experimental.stateless_shuffle(tf.range(r.n_points), [seed, number])
        part = tf.gather(tf.concat(points, axis=0), order[: r.encoder_points], axis=1)
        seen = networks.critical_points(aae.encoder, part)
        with tf.GradientTape() as tape:
            found = aae.encoder(seen, training=True)
            found = found[0] if r.stochastic else found
            loss = tf.reduce_mean((found - tf.concat(codes, axis=0)) ** 2) / r.prior_std**2
        optimizer.apply(tape.gradient(loss, variables), variables)

    for number in tqdm(range(n_steps), desc="encoder of the shape models", leave=False):
        step(tf.constant(number))


def _normalized_basis(model, n_points, scale, seed):
    mean, modes = model.point_basis(n_points, seed=seed)
    mean, modes = mean - mean.mean(axis=1, keepdims=True), modes - modes.mean(axis=2, keepdims=True)
    return mean / np.float32(scale), modes / np.float32(scale)


def finetune_decoder(aae, clouds, batch_size=16, seed=0):
    """
    Let the decoder learn at refined codes, those that `reconstruct` will decode.

    In training it sees the encoder's codes, and what it decodes is blurred by their errors. Here
    the codes of some clouds are refined once, by some of their points, and stay. The loss is the
    mean of the Chamfer distance and of that by which codes are refined; steps, rate and its fall
    are the recipe's. The encoder does not change.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    clouds : (n, n_points, 3) array
        Normalized training clouds.
    batch_size, seed : int
    """
    r = aae.recipe
    if not r.finetuning_steps:
        return
    clouds = np.asarray(clouds, np.float32)
    codes = aae.codes(clouds[:, ::_EVERY])
    towards = normals(clouds)
    variables = aae.decoder.trainable_variables
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(r.finetuning_rate, r.finetuning_steps)
    )
    optimizer.build(variables)

    @tf.function
    def step(points, towards, codes):
        with tf.GradientTape() as tape:
            decoded = aae.decoder(codes)
            distance = chamfer_loss(points, decoded)
            distance += losses.plane_distance(points, towards, decoded)
            loss = r.reconstruction_weight * tf.reduce_mean(distance) / 2
        optimizer.apply(tape.gradient(loss, variables), variables)

    rng = np.random.default_rng(seed)
    for _ in tqdm(range(r.finetuning_steps), desc="decoder at refined codes", leave=False):
        chosen = rng.choice(len(clouds), min(batch_size, len(clouds)), replace=False)
        step(*(tf.constant(array[chosen]) for array in (clouds, towards, codes)))


@devices.losses_told()
def train(aae, draw, validation, path, epochs, steps_per_epoch, first_selectable=0, card=None):
    """
    Train a model, keep its best epoch, and go on where an earlier call was cut off.

    The best epoch is the one whose samples of the prior have the lowest Jensen-Shannon divergence
    from the validation shapes, on unit-sphere shapes, as in the paper. Where the recipe says so,
    the decoder of that epoch is then fine-tuned (`finetune_decoder`) on the first clouds of `draw`.

    The replicas of `aaelib.cluster.strategy` share each batch, several devices of this host or of
    several hosts, and the loss curve is that of one device but for rounding. With several hosts
    each makes the same call, after `cluster.strategy()`, and `path` is in a folder that they share.
    The first weights are the chief's; it alone chooses the best epoch, tunes its decoder and writes
    files, and the others wait and read them. When one is lost the others stop; started anew, with
    as many workers or fewer, they go on after the last epoch that was finished.

    Parameters
    ----------
    aae : AdversarialAutoencoder
        Not compiled yet; with the weights that training starts from.
    draw : callable
        `draw(first_step, n_steps)` gives the training batches of those steps, see `data.batches`.
    validation : (n, n_points, 3) array
        Validation shapes, mm.
    path : Path
        Where the best model goes (`.keras`); beside it go the history (`.csv`) and a card
        (`.json`). If they are there and belong to this very run, nothing is trained. Until then a
        folder (`.resume`) keeps what is needed to go on.
    epochs, steps_per_epoch : int
    first_selectable : int
        Epochs before this one (counted from 0) are never selected.
    card : dict, optional
        What else the card shall say, such as the source of the data; a run with another card is
        another run.

    Returns
    -------
    aae : AdversarialAutoencoder
        The best epoch's model.
    history : pandas.DataFrame
        A row an epoch: training values, `val_...` and `val_jsd`.
    best : int
        The selected epoch.

    Raises
    ------
    ValueError
        If no epoch may be selected, if replicas cannot share batches evenly, or if workers were
        not started with the same code, recipe and data.
    ConnectionError
        If another worker is lost.
    FileNotFoundError
        If a worker does not see the files of the chief.
    FloatingPointError
        If the loss is no longer finite.
    RuntimeError
        If another process trains to the same path, saying which (`aaelib.files.locked`).
    OSError
        If something can't be written, naming it; what was done by then is kept, to go on from.
    """
    if not 0 <= first_selectable < epochs:
        raise ValueError(f"first_selectable is {first_selectable}; it can be 0 to {epochs - 1}")
    path = Path(path)
    settings, card = (epochs, steps_per_epoch, first_selectable), card or {}
    aae.set_weights(devices.from_chief(aae.get_weights()))
    fingerprint = _fingerprint(aae, draw(0, 1), validation, *settings, card)
    fingerprint = devices.agreed(fingerprint, f"the run to {path}")

    def is_finished():
        return devices.chiefs(card_of(path).get("fingerprint") == fingerprint)

    if is_finished():
        return _finished(path)
    with locked(path) if devices.is_chief() else nullcontext():
        if is_finished():  # another process has just ended it
            return _finished(path)
        for suffix in (".keras", ".csv", ".json"):
            refuse_folder(path.with_suffix(suffix))
        state = _state(path, fingerprint)
        return _train(aae, draw, validation, state, path, settings, card)


def _state(path, fingerprint):
    """The state of a run; the chief looks at it first, which removes what is of another run."""
    folder = path.with_suffix(".resume")
    if not devices.is_chief():
        devices.wait()
    state = _State(folder, fingerprint)
    if devices.is_chief():
        devices.wait()
    if state.epoch != (epoch := devices.chiefs(state.epoch)):
        raise FileNotFoundError(
            f"{folder}: the chief has finished {epoch} epochs and here are {state.epoch}; give all "
            "workers a folder that they share"
        )
    return state


def _train(aae, draw, validation, state, path, settings, card):
    """What is left of a run, from a state on."""
    epochs, steps_per_epoch, first_selectable = settings
    n_steps = epochs * steps_per_epoch
    with devices.scope():
        if state.epoch:
            aae = state.load(state.model)
        else:
            aae = _in_scope(aae)
            aae.compile(**optimizers(aae.recipe, n_steps))
    scale = aae.scale if aae.recipe.normalization == "dataset" else None
    held_out = normalize(validation, aae.recipe.normalization, scale=scale)[0].astype(np.float32)
    held_out = _in_batches(held_out)
    callbacks = [_Calibrate(draw(0, 4)), _SelectAndKeep(state, validation, first_selectable)]
    if state.epoch < epochs:
        aae.fit(
            devices.shared_out(draw(state.epoch * steps_per_epoch, n_steps)),
            validation_data=devices.shown_to_all(held_out),
            validation_steps=len(held_out),
            initial_epoch=state.epoch,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            callbacks=callbacks + [_Progress(path.stem)] * devices.is_chief(),
            shuffle=False,
            verbose=0,
        )
    if devices.is_chief():
        best = state.load(state.best_model)
        batches = draw(0, min(n_steps, _FINETUNING_BATCHES))
        finetune_decoder(best, np.concatenate([batch.numpy() for batch in batches]), seed=aae.seed)
        _finish(path, state, best, card)
    devices.wait()
    # Read back, so that this run and one that finds it finished give the same.
    return _finished(path)


def _in_scope(aae):
    """A model like another, made where the one that is to be trained has to be."""
    if not devices.strategy():
        return aae
    copy = autoencoder.AdversarialAutoencoder.from_config(aae.get_config())
    copy.set_weights(aae.get_weights())
    return copy


def _in_batches(clouds, size=32):
    # Mixed: clouds often come kind by kind, and a batch of one kind has other statistics than all.
    clouds = np.random.default_rng(0).permutation(clouds)
    return tf.data.Dataset.from_tensor_slices(clouds).batch(size)


def prior_jsd(aae, shapes, seed=0, per_shape=3):
    """
    Jensen-Shannon divergence between samples of the prior and real shapes, both in unit spheres.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    shapes : (n, n_points, 3) array
        mm.
    seed : int
    per_shape : int
        Samples drawn for each real shape.

    Returns
    -------
    float
        In [0, 1]; 0 is best.
    """
    samples = normalize(aae.sample(per_shape * len(shapes), seed), "unit-sphere")[0]
    return jensen_shannon_divergence(samples, normalize(shapes, "unit-sphere")[0])


class _State:
    """
    What a run needs to go on, in a folder: the last epoch's model, the best one's, the history.

    `state.json` names the two models and is replaced last: whenever the process is killed, what it
    names is whole. A state that lacks something is removed; that of a run with other settings,
    code or data is moved aside, in the place of one that was moved before.
    """

    def __init__(self, folder, fingerprint):
        self.folder = folder
        self.file = folder / "state.json"
        self.fingerprint = fingerprint
        self.history, self.best = [], None
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(
                f"{folder} is a file; a run keeps there, in a folder, what it needs to go on: move "
                "it away, then run again"
            )
        whose = self._read()
        if whose != fingerprint:
            self.history, self.best = [], None
            if devices.is_chief() and folder.exists():
                self._clear(is_whole=whose is not None)

    def _read(self):
        """Take over what is saved; return whose it is, None if it is not whole."""
        try:
            saved = json.loads(self.file.read_text())
            self.history, self.best = saved["history"], saved["best"]
            models_needed = [self.model] + ([] if self.best is None else [self.best_model])
            return saved["fingerprint"] if all(m.exists() for m in models_needed) else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _clear(self, is_whole):
        if not is_whole:
            shutil.rmtree(self.folder)
            return
        aside = self.folder.with_name(f"{self.folder.name}-before")
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(self.folder, aside)
        warnings.warn(
            f"{self.folder} was of an unfinished run with other settings, code or data: it is "
            f"{aside} now; to go on with that run, move it back and start it as before",
            stacklevel=4,
        )

    @property
    def epoch(self):
        """Epochs done."""
        return len(self.history)

    @property
    def model(self):
        return self.folder / f"epoch-{self.epoch - 1}.keras"

    @property
    def best_model(self):
        return self.folder / f"best-{self.best}.keras"

    def load(self, model):
        """One of the two models; a damaged one names the folder that keeps it."""
        try:
            return files.load(model)
        except ValueError as error:
            raise ValueError(
                f"{error}. It was kept to go on from: remove {self.folder} to begin anew"
            ) from error

    def keep(self, aae, row, best):
        self.history.append(row)
        aae.save(self.model)
        if best:
            self.best = self.epoch - 1
            with replacing(self.best_model) as temporary:
                shutil.copyfile(self.model, temporary)
        with replacing(self.file) as temporary:
            saved = {"fingerprint": self.fingerprint, "history": self.history, "best": self.best}
            temporary.write_text(json.dumps(saved))
        for old in self.folder.glob("*.keras"):
            if old not in (self.model, self.best_model):
                old.unlink(missing_ok=True)


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
    """Before each validation: bring up to date by what codes are standardized."""

    def __init__(self, batches):
        super().__init__()
        self.batches = list(batches)

    def on_test_begin(self, logs=None):
        self.model.calibrate(self.batches)
        measured = self.model.encoder.non_trainable_variables
        # What each worker measures by itself may be rounded otherwise.
        values = devices.from_chief([variable.numpy() for variable in measured])
        for variable, value in zip(measured, values, strict=True):
            variable.assign(value)


class _Progress(keras.callbacks.Callback):
    """One bar for the whole run."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def on_train_begin(self, logs=None):
        self.bar = tqdm(total=self.params["epochs"] * self.params["steps"], desc=self.name)
        self.bar.update(int(self.model.autoencoder_optimizer.iterations.numpy()))

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.set_postfix(chamfer=f"{float(logs['chamfer']):.5f}")

    def on_train_end(self, logs=None):
        self.bar.close()


def _finish(path, state, aae, card):
    """Move the best model into place; the card, which says that the run is done, comes last."""
    history = pd.DataFrame(state.history).set_index("epoch")
    final = state.folder / "final.keras"
    aae.save(final)
    path.with_suffix(".json").unlink(missing_ok=True)  # of another run, whose model goes now
    os.replace(final, path)
    with replacing(path.with_suffix(".csv")) as temporary:
        history.to_csv(temporary)
    with replacing(path.with_suffix(".json")) as temporary:
        card = {
            "recipe": aae.recipe.name,
            "best_epoch": state.best,
            **card,
            "fingerprint": state.fingerprint,
        }
        temporary.write_text(json.dumps(card, indent=1))
    shutil.rmtree(state.folder)


def _finished(path):
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not here, though another worker has written it; give all workers a folder "
            "that they share"
        )
    history = pd.read_csv(path.with_suffix(".csv"), index_col="epoch")
    return files.load(path), history, card_of(path)["best_epoch"]


def card_of(path):
    """
    What is known of a trained model, such as the source of its data; empty while there is none.

    Parameters
    ----------
    path : Path
        The model's `.keras` file.

    Returns
    -------
    dict
    """
    file = path.with_suffix(".json")
    if not (file.exists() and path.exists()):
        return {}
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(card, dict):
            raise TypeError(f"it holds {type(card).__name__}")
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{file} is no card of a model ({error}); move it away, and train again if the model "
            "is to have one"
        ) from error
    return card


def _fingerprint(aae, first_batch, validation, *settings):
    """A run is known by its code, settings, card, first weights, first batch and validation set."""
    digest = hashlib.sha256()
    for layer in _CODE:
        for file in sorted((Path(__file__).parents[1] / layer).glob("*.py")):
            digest.update(file.read_bytes())
    config = {key: value for key, value in aae.get_config().items() if key != "name"}
    digest.update(json.dumps([config, settings], sort_keys=True).encode())
    arrays = [*aae.get_weights(), np.asarray(validation), *(b.numpy() for b in first_batch)]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
