"""The adversarial autoencoder and its training step."""

import dataclasses
from functools import cache, partial

import keras
import numpy as np
import tensorflow as tf

from ..shapes.clouds import normals
from ..shapes.writing import replacing
from . import transfer
from .adversarial import accuracy, discriminator_loss, generator_loss, gradient_penalty, mismatch
from .descent import n_replicas, updater
from .draws import Draws
from .losses import chamfer_loss
from .millimetres import InMillimetres
from .networks import critical_points, decoder, discriminator, encoder
from .recipes import RECIPES, Recipe
from .refinement import refine

_TRACKED = ("chamfer", "discriminator_loss", "generator_loss", "discriminator_accuracy")
_OPTIMIZERS = ("autoencoder_optimizer", "discriminator_optimizer", "generator_optimizer")


class Spread(keras.metrics.Metric):
    """
    Mean standard deviation of the numbers of codes (n, code_size), over the prior's; 1 is best.

    Of all codes of several batches, not a mean over batches.
    """

    def __init__(self, code_size, prior_std, name="code_spread"):
        super().__init__(name=name)
        self.prior_std = prior_std
        self.count = self.add_weight((), "zeros", name="count")
        self.mean = self.add_weight((code_size,), "zeros", name="mean")
        self.squares = self.add_weight((code_size,), "zeros", name="squares")

    def update_state(self, codes, sample_weight=None):
        """Add a batch: Chan, Golub and LeVeque (1979), equations 1.5."""
        n = tf.cast(tf.shape(codes)[0], tf.float32)
        before, total = self.count + 0.0, self.count + n
        apart = tf.reduce_mean(codes, axis=0) - self.mean
        within = n * tf.math.reduce_variance(codes, axis=0)
        self.squares.assign_add(within + apart**2 * before * n / total)
        self.mean.assign_add(apart * n / total)
        self.count.assign(total)

    def result(self):
        return tf.reduce_mean(tf.sqrt(self.squares / self.count)) / self.prior_std


@keras.saving.register_keras_serializable("aaelib")
class AdversarialAutoencoder(InMillimetres, keras.Model):
    """
    An autoencoder of point clouds whose codes are pushed towards a prior by a discriminator.

    A Keras model with one optimizer for each network (`compile`), trained by `fit`. Makhzani et al.
    (2015); on point clouds, Zamorski et al. (2020). `fit` and `evaluate` take normalized clouds
    (n, n_points, 3); `encode`, `decode`, `reconstruct` and `sample` work in mm.

    Parameters
    ----------
    recipe : Recipe or dict
        The architecture and its training, see `Recipe`.
    scale : float
        Millimetres of one normalized unit; always 1 with "unit-sphere" normalization.
    seed : int
        Seed of the initial weights and of every draw in training. Making a model seeds Python,
        NumPy and TensorFlow with it.
    frozen : dict, optional
        Network ("encoder", "decoder", "discriminator") -> name of its last layer that does not
        learn, or how many of its layers with weights do not.
    noise : float
        Weight of the prior in `encode`, in squared normalized units. `training.estimate_noise` sets
        it so that codes of unseen clouds have the prior's variance.
    name : str, optional
        As of any Keras model.

    Attributes
    ----------
    encoder, decoder, discriminator : keras.Model

    Raises
    ------
    ValueError
        If `frozen` names an unknown layer, or an entry of the recipe is refused.
    """

    def __init__(
        self, recipe=RECIPES["compact"], scale=1.0, seed=0, frozen=None, noise=0.0, name=None
    ):
        super().__init__(name=name)
        self.recipe = Recipe(**recipe) if isinstance(recipe, dict) else recipe
        # Clouds in unit spheres have lost their size in millimetres.
        self.scale = float(scale) if self.recipe.normalization == "dataset" else 1.0
        self.seed, self.noise = int(seed), float(noise)
        keras.utils.set_random_seed(self.seed)
        self.encoder = encoder(self.recipe)
        self.decoder = decoder(self.recipe)
        self.discriminator = discriminator(self.recipe)
        self.frozen = {
            network: transfer.freeze(getattr(self, network), last)
            for network, last in (frozen or {}).items()
            if last
        }
        # Graphs are faster than layer by layer: a moving slider decodes one code at a time.
        clouds, codes = tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, self.recipe.code_size])
        self._decode = tf.function(self.decoder, input_signature=[codes])
        self._refine = cache(
            lambda n_steps: tf.function(
                partial(refine, self.decoder, self.recipe.prior_std, n_steps),
                input_signature=[clouds, clouds, codes, tf.TensorSpec([])],
            )
        )
        self.trackers = {name: keras.metrics.Mean(name) for name in _TRACKED}
        self.trackers["code_spread"] = Spread(self.recipe.code_size, self.recipe.prior_std)
        self.built = True

    # Keras ------------------------------------------------------------------------------------

    def get_config(self):
        names = "name", "scale", "seed", "frozen", "noise"
        entries = {name: getattr(self, name) for name in names}
        return entries | {"recipe": dataclasses.asdict(self.recipe)}

    def compile(self, *optimizers):
        """
        Choose the optimizers.

        Parameters
        ----------
        *optimizers : keras.Optimizer
            Of the autoencoder, the discriminator and the generator; by default Adam with the
            recipe's learning rates.
        """
        autoencoder, discriminator, generator = optimizers or optimizers_of(self.recipe)
        # XLA cannot compile the search for nearest neighbours on the host.
        super().compile(autoencoder, jit_compile=False)
        self.discriminator_optimizer, self.generator_optimizer = discriminator, generator
        encoder, decoder = self.encoder.trainable_variables, self.decoder.trainable_variables
        # With a shared pass the generator's optimizer updates the encoder.
        reconstructing = decoder if self.recipe.shared_pass else encoder + decoder
        self._update_autoencoder = updater(autoencoder, reconstructing)
        self._update_discriminator = updater(discriminator, self.discriminator.trainable_variables)
        self._update_generator = updater(generator, encoder)
        self._draws = Draws(self.seed, self.optimizer.iterations)

    @property
    def autoencoder_optimizer(self):
        return self.optimizer

    def get_compile_config(self):
        if not self.compiled:
            return None
        return {
            name: keras.saving.serialize_keras_object(getattr(self, name)) for name in _OPTIMIZERS
        }

    def compile_from_config(self, config):
        # By names of Keras' optimizers alone: a file cannot name anything else to be made.
        self.compile(*(_made(keras.optimizers, config[name]) for name in _OPTIMIZERS))

    @property
    def metrics(self):
        return list(self.trackers.values())

    def call(self, points):
        """Reconstruct normalized clouds (n, n_points, 3)."""
        return self.decoder(self._mean_codes(points))

    def save(self, filepath):
        """Save as one `.keras` file, whole or not at all, with its optimizers' state, if any."""
        with replacing(filepath) as temporary:
            super().save(temporary)

    # Training ---------------------------------------------------------------------------------

    def train_step(self, data):
        """Update all networks from a batch of normalized clouds (n, n_points, 3)."""
        points, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        step = self._shared_step if self.recipe.shared_pass else self._three_steps
        values = step(points)
        if self.recipe.reduction == "sum":
            # What is reported is a mean over points, whatever the loss is.
            values["chamfer"] /= tf.cast(tf.shape(points)[1], tf.float32)
        return self._track(values)

    def _shared_step(self, points):
        """Update encoder and decoder from one pass, then the discriminator."""
        r = self.recipe
        seen = self._seen(points, "codes")
        with tf.GradientTape(persistent=True) as tape:
            codes = self._with_noise(self.encoder(seen, training=True), "codes")
            distance = chamfer_loss(points, self.decoder(codes), r.reduction)
            fake = self.discriminator(codes)
            reconstruction = r.reconstruction_weight * tf.reduce_mean(distance)
            matching = r.generator_weight * self._matching_loss(codes, fake)
            encoder_loss = reconstruction + matching + self._transform_loss()
        self._update_generator(tape, encoder_loss)
        self._update_autoencoder(tape, reconstruction)
        del tape
        values = self._train_discriminator(lambda i: codes)
        return values | self._step_values(codes, distance, fake)

    def _three_steps(self, points):
        """Update the autoencoder, the discriminator and the encoder, as in the paper."""
        r = self.recipe
        seen = self._seen(points, "autoencoder")
        with tf.GradientTape() as tape:
            codes = self._with_noise(self.encoder(seen, training=True), "autoencoder")
            distance = chamfer_loss(points, self.decoder(codes), r.reduction)
            loss = r.reconstruction_weight * tf.reduce_mean(distance) + self._transform_loss()
        self._update_autoencoder(tape, loss)

        # The discriminator's update does not change the encoder: the next two share a pass.
        seen = self._seen(points, "generator")
        with tf.GradientTape() as tape:
            distribution = self.encoder(seen, training=True)
            codes = self._with_noise(distribution, "generator")
        values = self._train_discriminator(
            lambda i: self._with_noise(distribution, f"discriminator {i}")
        )
        with tape:
            fake = self.discriminator(codes)
            loss = r.generator_weight * self._matching_loss(codes, fake)
        self._update_generator(tape, loss)
        return values | self._step_values(codes, distance, fake)

    def _matching_loss(self, codes, fake):
        """How unlike draws of the prior codes are, by their scores or by themselves."""
        r = self.recipe
        if r.matching == "discriminator":
            return generator_loss(r.adversarial, fake)
        prior = self._draws.normal(tf.shape(codes), "matched", r.prior_std)
        directions = self._draws.normal([r.code_size, 64], "directions")
        return mismatch(r.matching, codes, prior, r.prior_std, directions)

    def _train_discriminator(self, draw_codes):
        """Let the discriminator learn to tell codes from draws of the prior."""
        r = self.recipe
        for i in range(r.critic_steps):
            codes = tf.stop_gradient(draw_codes(i))
            prior = self._draws.normal(tf.shape(codes), f"prior {i}", r.prior_std)
            with tf.GradientTape() as tape:
                real, fake = self.discriminator(prior), self.discriminator(codes)
                loss = discriminator_loss(r.adversarial, real, fake)
                if r.adversarial == "wasserstein":
                    share = self._draws.uniform([tf.shape(codes)[0], 1], f"penalty {i}")
                    between = share * prior + (1 - share) * codes
                    penalty = gradient_penalty(self.discriminator, between, r.prior_std)
                    loss += r.gradient_penalty * penalty
                loss *= r.discriminator_weight
            self._update_discriminator(tape, loss)
        return {
            "discriminator_loss": loss,
            "discriminator_accuracy": accuracy(r.adversarial, real, fake),
        }

    def _transform_loss(self):
        # A sum over the batch, where other losses are means: its mean over replicas is too small.
        return n_replicas() * sum(self.encoder.losses)

    def _step_values(self, codes, chamfer, fake):
        return {
            "chamfer": chamfer,
            "generator_loss": generator_loss(self.recipe.adversarial, fake),
            "code_spread": codes,
        }

    def test_step(self, data):
        """
        Compute the losses of normalized clouds (n, n_points, 3), encoded without noise.

        Those of several batches are means over all clouds; the spread is that of all codes.
        """
        points, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        kind, std = self.recipe.adversarial, self.recipe.prior_std
        codes = self._mean_codes(points)
        prior = tf.random.stateless_normal(tf.shape(codes), [self.seed, 0], stddev=std)
        real, fake = self.discriminator(prior), self.discriminator(codes)
        values = {
            "discriminator_loss": discriminator_loss(kind, real, fake),
            "discriminator_accuracy": accuracy(kind, real, fake),
        }
        chamfer = tf.reduce_mean(chamfer_loss(points, self.decoder(codes)))
        return self._track(values | self._step_values(codes, chamfer, fake), tf.shape(points)[0])

    def _track(self, values, weight=None):
        for name, value in values.items():
            self.trackers[name].update_state(value, weight)
        results = {name: tracker.result() for name, tracker in self.trackers.items()}
        if tf.distribute.has_strategy():
            # Keras averages over hosts along an axis, which scalars lack (keras#20585).
            results = {name: value[None] for name, value in results.items()}
        return results

    def _seen(self, points, purpose):
        """What the encoder needs of a training batch: critical points of a random part."""
        part = self._draws.part(points, self.recipe.encoder_points, f"{purpose} part")
        # A GPU takes longer to find them than to pass all points.
        on_gpu = tf.config.list_physical_devices("GPU")
        return part if on_gpu else critical_points(self.encoder, part)

    def _with_noise(self, codes, purpose):
        """Draw codes from their mean and standard deviation, if the encoder gives both."""
        if not self.recipe.stochastic:
            return codes
        mean, std = codes
        return mean + std * self._draws.normal(tf.shape(mean), f"{purpose} noise")

    def _mean_codes(self, points):
        """Codes of whole clouds, without noise: the mean over the parts that the encoder sees."""
        count, size = tf.shape(points)[0], points.shape[1]
        parts = max(1, size // (self.recipe.encoder_points or size))
        # Part k is every parts-th point from the k-th on, as points are often stored in an order.
        used = points[:, : size // parts * parts]
        split = tf.reshape(used, (count, size // parts, parts, 3))
        split = tf.reshape(tf.transpose(split, (0, 2, 1, 3)), (count * parts, size // parts, 3))
        codes = self.encoder(split)
        codes = codes[0] if self.recipe.stochastic else codes
        return tf.reduce_mean(tf.reshape(codes, (count, parts, self.recipe.code_size)), axis=1)

    def calibrate(self, batches):
        """
        Set the moments by which codes are standardized to those of batches of normalized clouds.

        In training they are lagging averages. The model must be compiled. Like in training, codes
        are those of parts of clouds; means over parts, as `encode` gives, vary a little less. If
        the layer is frozen, its moments stay.
        """
        layer = self.encoder.get_layer("standardize") if self.recipe.standardized else None
        if layer is None or not layer.trainable:
            return
        unstandardized = keras.Model(self.encoder.input, layer.input)
        size = self.recipe.encoder_points
        parts = (self._draws.part(points, size, "calibration part") for points in batches)
        codes = tf.concat([unstandardized(part) for part in parts], axis=0)
        mean, variance = tf.nn.moments(codes, axes=[0])
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)

    # In normalized units ----------------------------------------------------------------------

    def codes(self, normalized, refinement_steps=None):
        """Codes of normalized clouds (n, n_points, 3), see `encode`."""
        codes = _in_batches(self._mean_codes, normalized)
        steps = self.recipe.refinement_steps if refinement_steps is None else refinement_steps
        if not steps:
            return codes
        refined = partial(self._refine(steps), noise=tf.constant(self.noise, tf.float32))
        return _in_batches(refined, normalized, normals(normalized), codes, size=16)

    def decoded(self, codes):
        """Normalized clouds (n, n_points, 3) of codes (n, code_size)."""
        return _in_batches(self._decode, codes)

    @property
    def gates(self):
        linear = self.decoder.get_layer("linear")
        return linear.gate_kernel.numpy(), linear.gate_bias.numpy()


def _in_batches(function, *arrays, size=64):
    """Apply a function of tensors to arrays, a batch of rows at a time."""
    count = len(arrays[0])
    if not count:
        raise ValueError("there are no shapes to work on; give one or more")
    batches = (
        [tf.constant(array[i : i + size], tf.float32) for array in arrays]
        for i in range(0, count, size)
    )
    return np.concatenate([function(*batch).numpy() for batch in batches])


def optimizers_of(recipe, n_steps=None):
    """The optimizers of a recipe, as `compile` takes them; without `n_steps` rates do not fall."""

    def adam(rate, updates=1):
        if n_steps and recipe.decay == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(rate, n_steps * updates)
        return keras.optimizers.Adam(rate, beta_1=recipe.beta_1, beta_2=recipe.beta_2)

    return [
        adam(recipe.autoencoder_rate),
        adam(recipe.discriminator_rate, recipe.critic_steps),
        adam(recipe.generator_rate),
    ]


def _made(module, described):
    """Make an optimizer, or its schedule, from the name of its class and its configuration."""
    config = dict(described["config"])
    if isinstance(config.get("learning_rate"), dict):
        config["learning_rate"] = _made(keras.optimizers.schedules, config["learning_rate"])
    return getattr(module, described["class_name"])(**config)
