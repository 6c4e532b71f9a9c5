"""The adversarial autoencoder and its training step."""

import dataclasses
import zlib

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import norm

from ..shapes.clouds import normalize, normals
from ..shapes.writing import replacing
from . import devices
from .losses import chamfer_loss, plane_distance
from .networks import NETWORKS, critical_points, decoder, discriminator, encoder
from .recipes import RECIPES, Recipe

_REFINEMENT_RATE = 0.2  # standard deviations of the prior, a step
_GATE_SLOPE = 20.0  # per standard deviation of the prior: a tenth of it is between two kinds


@keras.saving.register_keras_serializable("aaelib")
class AdversarialAutoencoder(keras.Model):
    """
    An autoencoder of point clouds whose codes are pushed towards a prior by a discriminator.

    A Keras model: `compile` (one optimizer per player), `fit`, `evaluate`, `save`. What `fit` and
    `evaluate` take is normalized clouds (n, n_points, 3); what `encode`, `decode`, `reconstruct`
    and `sample` take and give is in mm. Makhzani et al. (2015); on point clouds, Zamorski et al.
    (2020).

    Parameters
    ----------
    recipe : Recipe or dict
        What it is made of; see `recipe`.
    scale : float
        Millimetres of one normalized unit; 1 with "unit-sphere" normalization, whatever is given.
    seed : int
        Of the weights' initial values and of every draw in training. Making a model seeds Python,
        NumPy and TensorFlow with it.

    Attributes
    ----------
    encoder, decoder, discriminator : keras.Model
        The three networks; their layers have names, for `freeze`.
    frozen : dict
        Network -> name of the last layer that does not learn.
    """

    def __init__(self, recipe=RECIPES["compact"], scale=1.0, seed=0, frozen=None, **kwargs):
        super().__init__(**kwargs)
        self.recipe = Recipe(**recipe) if isinstance(recipe, dict) else recipe
        # What was normalized shape by shape has no millimetres to go back to.
        self.scale = float(scale) if self.recipe.normalization == "dataset" else 1.0
        self.seed = int(seed)
        keras.utils.set_random_seed(self.seed)
        self.encoder = encoder(self.recipe)
        self.decoder = decoder(self.recipe)
        self.discriminator = discriminator(self.recipe)
        # As a graph, faster than layer by layer: a moving slider decodes one code at a time.
        self._decode = tf.function(
            self.decoder, input_signature=[tf.TensorSpec([None, self.recipe.code_size])]
        )
        self.trackers = {
            name: keras.metrics.Mean(name)
            for name in (
                "chamfer",
                "discriminator_loss",
                "generator_loss",
                "discriminator_accuracy",
                "code_spread",
            )
        }
        clouds = tf.TensorSpec([None, None, 3])
        self._refine = tf.function(
            self._refinement, input_signature=[clouds, clouds, *self._decode.input_signature]
        )
        self.frozen = {}
        self.freeze(**(frozen or {}))
        self.built = True

    # Keras ------------------------------------------------------------------------------------

    def get_config(self):
        return {
            "name": self.name,
            "recipe": dataclasses.asdict(self.recipe),
            "scale": self.scale,
            "seed": self.seed,
            "frozen": self.frozen,
        }

    def compile(
        self,
        autoencoder_optimizer=None,
        discriminator_optimizer=None,
        generator_optimizer=None,
        **kwargs,
    ):
        """
        Choose the optimizers: Adam with the recipe's learning rates where none is given.

        Parameters
        ----------
        autoencoder_optimizer, discriminator_optimizer, generator_optimizer : keras.Optimizer
        **kwargs
            Passed to `keras.Model.compile`.
        """
        # The nearest-neighbour search runs outside the graph, so Keras must not compile the step.
        kwargs.setdefault("jit_compile", False)
        super().compile(
            optimizer=autoencoder_optimizer or self._adam(self.recipe.autoencoder_rate), **kwargs
        )
        self.discriminator_optimizer = discriminator_optimizer or self._adam(
            self.recipe.discriminator_rate
        )
        self.generator_optimizer = generator_optimizer or self._adam(self.recipe.generator_rate)
        self._update_autoencoder = _update(
            self.autoencoder_optimizer, self._autoencoder_variables()
        )
        self._update_discriminator = _update(
            self.discriminator_optimizer, self.discriminator.trainable_variables
        )
        self._update_generator = _update(self.generator_optimizer, self.encoder.trainable_variables)

    def _adam(self, rate):
        return keras.optimizers.Adam(rate, beta_1=self.recipe.beta_1, beta_2=self.recipe.beta_2)

    @property
    def autoencoder_optimizer(self):
        return self.optimizer

    def get_compile_config(self):
        return {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("autoencoder_optimizer", "discriminator_optimizer", "generator_optimizer")
        }

    def compile_from_config(self, config):
        self.compile(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})

    @property
    def metrics(self):
        return list(self.trackers.values())

    def call(self, points):
        """Reconstruct normalized clouds (n, n_points, 3)."""
        return self.decoder(self._mean_codes(points))

    def train_step(self, data):
        """One batch of normalized clouds (n, n_points, 3): reconstruct, criticise, deceive."""
        points, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        values = self._shared_step(points) if self.recipe.shared_pass else self._three_steps(points)
        return self._track(values)

    def test_step(self, data):
        """Losses of a batch of normalized clouds (n, n_points, 3), encoded without noise."""
        points, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        codes = self._mean_codes(points)
        prior = self._prior(tf.shape(codes), "test")
        real, fake = self.discriminator(prior), self.discriminator(codes)
        return self._track(
            {
                "chamfer": chamfer_loss(points, self.decoder(codes)),
                "discriminator_loss": self._discriminator_loss(real, fake),
                "generator_loss": self._generator_loss(fake),
                "discriminator_accuracy": self._accuracy(real, fake),
                "code_spread": self._code_spread(codes),
            }
        )

    def _track(self, values):
        for name, value in values.items():
            self.trackers[name].update_state(value)
        results = {name: tracker.result() for name, tracker in self.trackers.items()}
        if tf.distribute.has_strategy():
            # Between hosts Keras takes means along an axis, which a scalar has not.
            results = {name: value[None] for name, value in results.items()}
        return results

    # The algorithm ----------------------------------------------------------------------------

    def _shared_step(self, points):
        r = self.recipe
        seen = self._seen(points, "codes")
        with tf.GradientTape(persistent=True) as tape:
            codes = self._with_noise(self._code_distribution(seen), "codes")
            reconstruction = self._reconstruction_loss(points, self.decoder(codes))
            fake = self.discriminator(codes)
            deception = r.generator_weight * self._generator_loss(fake)
            weighted = r.reconstruction_weight * tf.reduce_mean(reconstruction)
            encoder_loss = weighted + deception + self._transform_losses()
        self._update_generator(tape.gradient(encoder_loss, self.encoder.trainable_variables))
        self._update_autoencoder(tape.gradient(weighted, self._autoencoder_variables()))
        del tape
        values = self._criticise(lambda i: codes)
        return {**values, **self._step_values(points, codes, reconstruction, fake)}

    def _three_steps(self, points):
        r = self.recipe
        seen = self._seen(points, "autoencoder")
        with tf.GradientTape() as tape:
            codes = self._with_noise(self._code_distribution(seen), "autoencoder")
            reconstruction = self._reconstruction_loss(points, self.decoder(codes))
            loss = r.reconstruction_weight * tf.reduce_mean(reconstruction)
            loss += self._transform_losses()
        self._update_autoencoder(tape.gradient(loss, self._autoencoder_variables()))

        # The encoder changes with the first update and the third only: the second and the third
        # share a pass.
        seen = self._seen(points, "generator")
        with tf.GradientTape() as tape:
            distribution = self._code_distribution(seen)
            codes = self._with_noise(distribution, "generator")
        values = self._criticise(lambda i: self._with_noise(distribution, f"discriminator {i}"))
        with tape:
            fake = self.discriminator(codes)
            loss = r.generator_weight * self._generator_loss(fake)
        self._update_generator(tape.gradient(loss, self.encoder.trainable_variables))
        return {**values, **self._step_values(points, codes, reconstruction, fake)}

    def _criticise(self, draw_codes):
        """Let the discriminator learn to tell codes from draws of the prior."""
        for i in range(self.recipe.critic_steps):
            codes = tf.stop_gradient(draw_codes(i))
            prior = self._prior(tf.shape(codes), f"prior {i}")
            with tf.GradientTape() as tape:
                real, fake = self.discriminator(prior), self.discriminator(codes)
                loss = self._discriminator_loss(real, fake)
                if self.recipe.adversarial == "wasserstein":
                    loss += self.recipe.gradient_penalty * self._slope_penalty(prior, codes, i)
                loss *= self.recipe.discriminator_weight
            self._update_discriminator(tape.gradient(loss, self.discriminator.trainable_variables))
        return {
            "discriminator_loss": loss,
            "discriminator_accuracy": self._accuracy(*map(devices.all_rows, (real, fake))),
        }

    def _transform_losses(self):
        """Unlike the other losses they are sums over the batch, and so over replicas."""
        return devices.n_replicas() * sum(self.encoder.losses)

    def _step_values(self, points, codes, reconstruction, fake):
        # The table's Chamfer distance is a mean over points, whatever the loss sums.
        n_points = tf.cast(tf.shape(points)[1], tf.float32)
        mean = reconstruction / n_points if self.recipe.reduction == "sum" else reconstruction
        return {
            "chamfer": mean,
            "generator_loss": self._generator_loss(fake),
            "code_spread": self._code_spread(devices.all_rows(codes)),
        }

    def _autoencoder_variables(self):
        """With a shared pass the encoder belongs to the generator optimizer."""
        decoder = self.decoder.trainable_variables
        return decoder if self.recipe.shared_pass else self.encoder.trainable_variables + decoder

    def _reconstruction_loss(self, points, reconstructed):
        return chamfer_loss(points, reconstructed, reduction=self.recipe.reduction)

    def _discriminator_loss(self, real, fake):
        if self.recipe.adversarial == "wasserstein":
            return tf.reduce_mean(fake) - tf.reduce_mean(real)
        cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits
        return tf.reduce_mean(cross_entropy(tf.ones_like(real), real)) + tf.reduce_mean(
            cross_entropy(tf.zeros_like(fake), fake)
        )

    def _generator_loss(self, fake):
        if self.recipe.adversarial == "wasserstein":
            return -tf.reduce_mean(fake)
        return tf.reduce_mean(
            tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.ones_like(fake), logits=fake)
        )

    def _slope_penalty(self, prior, codes, i):
        """(|slope| - 1)^2 between draws of the prior and codes, Gulrajani et al. 2017, eq. 3."""
        seed = self._step_seed(f"penalty {i}")
        share = devices.own_rows(
            lambda shape: tf.random.stateless_uniform(shape, seed), [tf.shape(codes)[0], 1]
        )
        between = share * prior + (1 - share) * codes
        with tf.GradientTape() as tape:
            tape.watch(between)
            score = self.discriminator(between)
        # In units of the prior's spread, so that the penalty does not depend on it.
        slope = self.recipe.prior_std * tape.gradient(score, between)
        return tf.reduce_mean((tf.norm(slope, axis=1) - 1) ** 2)

    def _accuracy(self, real, fake):
        """Fraction told apart; a critic's threshold is half way between its two means."""
        threshold = 0.0
        if self.recipe.adversarial == "wasserstein":
            threshold = (tf.reduce_mean(real) + tf.reduce_mean(fake)) / 2
        right = tf.concat([real > threshold, fake <= threshold], axis=0)
        return tf.reduce_mean(tf.cast(right, tf.float32))

    def _code_spread(self, codes):
        """Standard deviation of a batch's codes over that of the prior; 1 is what is wanted."""
        return tf.reduce_mean(tf.math.reduce_std(codes, axis=0)) / self.recipe.prior_std

    # Randomness: every draw is a function of the seed, the step and what it is for, so that a run
    # that was cut off and resumed draws what it would have drawn; it is of the whole batch, so that
    # replicas that share the batch draw together what one would.

    def _step_seed(self, purpose):
        label = tf.constant(zlib.crc32(purpose.encode()) // 2 ^ self.seed, tf.int32)
        return tf.stack([label, tf.cast(self.autoencoder_optimizer.iterations, tf.int32)])

    def _prior(self, shape, purpose):
        std = self.recipe.prior_std
        if purpose == "test":  # where every replica has the whole batch
            return tf.random.stateless_normal(shape, [self.seed, 0], stddev=std)
        seed = self._step_seed(purpose)
        return devices.own_rows(
            lambda shape: tf.random.stateless_normal(shape, seed, stddev=std), shape
        )

    def _draw_part(self, points, purpose):
        """As many random points of each cloud as the encoder sees at once."""
        count = self.recipe.encoder_points
        if not count or count >= points.shape[1]:
            return points
        order = tf.random.experimental.stateless_shuffle(
            tf.range(points.shape[1]), self._step_seed(purpose + " part")
        )
        return tf.gather(points, order[:count], axis=1)

    def _seen(self, points, purpose):
        """What the encoder needs to see of a training batch: the critical part of a random part."""
        return critical_points(self.encoder, self._draw_part(points, purpose))

    def _code_distribution(self, points):
        """Mean and standard deviation (None unless stochastic) of a training batch's codes."""
        codes = self.encoder(points, training=True)
        return codes if self.recipe.stochastic else (codes, None)

    def _with_noise(self, distribution, purpose):
        """Draw codes from their distribution."""
        mean, std = distribution
        if not self.recipe.stochastic:
            return mean
        seed = self._step_seed(purpose + " noise")
        noise = devices.own_rows(
            lambda shape: tf.random.stateless_normal(shape, seed), tf.shape(mean)
        )
        return mean + std * noise

    def _mean_codes(self, points):
        """Codes of whole clouds, without noise: the mean over the parts that the encoder sees."""
        count, size = tf.shape(points)[0], points.shape[1]
        parts = max(1, size // (self.recipe.encoder_points or size))
        # Part k takes every parts-th point from the k-th on: clouds are often stored in an order.
        used = points[:, : size // parts * parts]
        split = tf.reshape(used, (count, size // parts, parts, 3))
        split = tf.reshape(tf.transpose(split, (0, 2, 1, 3)), (count * parts, size // parts, 3))
        codes = self.encoder(split)
        codes = codes[0] if self.recipe.stochastic else codes
        return tf.reduce_mean(tf.reshape(codes, (count, parts, self.recipe.code_size)), axis=1)

    def calibrate(self, batches):
        """
        Measure anew by what codes are standardized, which in training is a lagging average.

        Nothing happens where the recipe does not standardize codes. The model must be compiled.
        The codes measured are of parts of clouds, as in training; those of whole clouds, means over
        parts, vary a little less.

        Parameters
        ----------
        batches : iterable of (n, n_points, 3) tensors
            Normalized training clouds.
        """
        if not self.recipe.standardized:
            return
        layer = self.encoder.get_layer("standardize")
        unstandardized = keras.Model(self.encoder.input, layer.input)
        codes = [unstandardized(self._draw_part(points, "calibration")) for points in batches]
        mean, variance = tf.nn.moments(tf.concat(codes, axis=0), axes=[0])
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)

    # In millimetres ---------------------------------------------------------------------------

    def encode(self, points):
        """
        Codes of clouds: the encoder's, refined where the recipe says so (`refine`).

        With a recipe whose encoder sees a part of a cloud at once, the code is the mean over parts;
        it depends a little on the order of the points, which decides the parts.

        Parameters
        ----------
        points : (n, n_points, 3) array
            Clouds in mm, long axis z.

        Returns
        -------
        (n, code_size) float32 array
        """
        return self.codes(self._normalize(points)[0])

    def refine(self, points, codes):
        """
        Improve codes of clouds in the recipe's number of steps.

        An encoder estimates a code at one glance; its errors are larger than what the decoder
        could express. Each step (of Adam, with a rate that falls to zero) moves the codes towards a
        smaller distance between decoded and given cloud, as in semi-amortized inference (Kim et
        al. 2018). The distance is Chamfer's, but counts mainly the part along the given cloud's
        normals (point-to-plane, Chen and Medioni 1992): where on a smooth wall a point was sampled
        is no property of the shape.

        Parameters
        ----------
        points : (n, n_points, 3) array
            Clouds in mm.
        codes : (n, code_size) array
            Where to start.

        Returns
        -------
        (n, code_size) float32 array
        """
        return self._refined(self._normalize(points)[0], np.asarray(codes, np.float32))

    def decode(self, codes):
        """
        Clouds of codes.

        Parameters
        ----------
        codes : (n, code_size) array

        Returns
        -------
        (n, n_points, 3) float32 array
            In mm around the origin; without a size of its own with "unit-sphere" normalization.
        """
        codes = np.asarray(codes, np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.recipe.code_size:
            raise ValueError(f"codes have shape {codes.shape}, not (n, {self.recipe.code_size})")
        return self._in_batches(self._decode, codes) * np.float32(self.scale)

    def reconstruct(self, points):
        """
        Encode and decode clouds, each put back where it was.

        Parameters
        ----------
        points : (n, n_points, 3) array
            Clouds in mm.

        Returns
        -------
        (n, n_points, 3) float32 array
            In mm.
        """
        normalized, normalizer = self._normalize(points)
        reconstructed = self._in_batches(self._decode, self.codes(normalized))
        return normalizer.undo(reconstructed).astype(np.float32)

    def sample(self, n, seed=0):
        """
        Decode `n` draws of the prior.

        Parameters
        ----------
        n : int
        seed : int

        Returns
        -------
        (n, n_points, 3) float32 array
            In mm around the origin.
        """
        return self.decode(self.draw_prior(n, seed))

    def draw_prior(self, n, seed=0):
        """Draw `n` codes (n, code_size) from the prior."""
        shape = (n, self.recipe.code_size)
        return (self.recipe.prior_std * np.random.default_rng(seed).normal(size=shape)).astype("f4")

    def codes(self, normalized):
        """Codes of clouds (n, n_points, 3) that are normalized already, see `encode`."""
        codes = self._in_batches(self._mean_codes, normalized)
        return self._refined(normalized, codes) if self.recipe.refinement_steps else codes

    def _refined(self, normalized, codes):
        return self._in_batches(self._refine, normalized, normals(normalized), codes)

    def _refinement(self, points, point_normals, codes):
        """Codes refined, see `refine`; clouds and their normals are (n, n_points, 3)."""
        n_steps, decay_1, decay_2 = self.recipe.refinement_steps, 0.9, 0.95
        first = second = tf.zeros_like(codes)
        for i in tf.range(n_steps):
            with tf.GradientTape() as tape:
                tape.watch(codes)
                # A sum over shapes: what one's code becomes does not depend on the others.
                loss = tf.reduce_sum(plane_distance(points, point_normals, self.decoder(codes)))
            slope = tape.gradient(loss, codes)
            done = tf.cast(i, tf.float32)
            first = decay_1 * first + (1 - decay_1) * slope
            second = decay_2 * second + (1 - decay_2) * slope**2
            spread = tf.sqrt(second / (1 - decay_2 ** (done + 1))) + 1e-12
            rate = (
                _REFINEMENT_RATE * self.recipe.prior_std * (1 + tf.cos(np.pi * done / n_steps)) / 2
            )
            codes -= rate * first / (1 - decay_1 ** (done + 1)) / spread
        return codes

    def _normalize(self, points):
        points = np.asarray(points, np.float32)
        if points.ndim != 3 or points.shape[-1] != 3:
            raise ValueError(f"points have shape {points.shape}, not (n, n_points, 3)")
        scale = self.scale if self.recipe.normalization == "dataset" else None
        return normalize(points, self.recipe.normalization, scale=scale)

    def _in_batches(self, function, *arrays, size=64):
        count = len(arrays[0])
        if not count:
            raise ValueError("there are no shapes to work on; give one or more")
        parts = []
        for i in range(0, count, size):
            batch = [tf.constant(array[i : i + size], tf.float32) for array in arrays]
            parts.append(function(*batch).numpy())
        return np.concatenate(parts)

    # Transfer ---------------------------------------------------------------------------------

    def freeze(self, **up_to):
        """
        Keep the first layers of a network from learning. Call it before `compile`.

        Parameters
        ----------
        **up_to
            Network ("encoder", "decoder", "discriminator") -> the name of the last layer to freeze.

        Raises
        ------
        ValueError
            For an unknown network or layer, naming those that there are, or a compiled model.
        """
        if up_to and self.compiled:
            raise ValueError(
                "the model is compiled: freeze layers before, the optimizers know them"
            )
        for network, last in up_to.items():
            if network not in NETWORKS:
                raise ValueError(f"no network {network!r} to freeze; accepted: {NETWORKS}")
            names = [layer.name for layer in getattr(self, network).layers]
            if last not in names:
                raise ValueError(f"{network} has no layer {last!r}; it has {names}")
            for layer in getattr(self, network).layers[: names.index(last) + 1]:
                layer.trainable = False
            self.frozen[network] = last

    def start_from(self, other, networks=NETWORKS):
        """
        Take over the weights of a trained model.

        Parameters
        ----------
        other : AdversarialAutoencoder
        networks : sequence of {"encoder", "decoder", "discriminator"}
            Which networks to take.

        Raises
        ------
        ValueError
            If a network of the two models differs in shape, naming it.
        """
        if unknown := sorted(set(networks) - set(NETWORKS)):
            raise ValueError(f"unknown networks {unknown}; accepted: {NETWORKS}")
        # All of them before any is changed.
        for network in networks:
            mine, theirs = getattr(self, network), getattr(other, network)
            if [w.shape for w in mine.weights] != [w.shape for w in theirs.weights]:
                raise ValueError(
                    f"the {network} of recipe {other.recipe.name!r} has other shapes than that of "
                    f"{self.recipe.name!r}: {_differences(other.recipe, self.recipe)}; make these "
                    "entries the same, or leave that network out"
                )
        for network in networks:
            getattr(self, network).set_weights(getattr(other, network).get_weights())

    def start_decoder_at(self, cloud):
        """Let the decoder start from a normalized cloud (n_points, 3), as its last bias."""
        kernel, _ = self.decoder.get_layer("coordinates").get_weights()
        self.decoder.get_layer("coordinates").set_weights([kernel, np.asarray(cloud).reshape(-1)])
        if self.recipe.linear_models:
            gate_kernel, gate_bias, terms = self.decoder.get_layer("linear").get_weights()
            terms[:, 0] = 0
            self.decoder.get_layer("linear").set_weights([gate_kernel, gate_bias, terms])

    def start_decoder_at_models(self, models, shares):
        """
        Let the decoder start as linear shape models, one a kind of shape; its other layers add 0.

        The first number of the code tells the kinds apart, by intervals that hold the kinds' shares
        of the prior; the others are the weights of the modes. With one model all are weights. A
        draw of the prior is then a draw of a shape model.

        Parameters
        ----------
        models : sequence of (mean, modes)
            (n_points, 3) and (n_modes, n_points, 3), normalized: what one standard deviation of
            each mode adds. Modes that find no number in the code are left out.
        shares : sequence of float
            Of each model, in all 1.

        Raises
        ------
        ValueError
            If there are none, or not as many models as the recipe has, or if the recipe normalizes
            to unit spheres, in which a linear model is not linear.
        """
        if not models or len(models) != self.recipe.linear_models:
            raise ValueError(
                f"{len(models)} shape models for a recipe with linear_models = "
                f"{self.recipe.linear_models}; they must be as many, and one or more"
            )
        if self.recipe.normalization != "dataset":
            raise ValueError(
                f"the recipe's normalization is {self.recipe.normalization!r}; a decoder starts as "
                'shape models with "dataset" only, in which draws of them stay linear'
            )
        gate_kernel, gate_bias, terms = map(
            np.zeros_like, self.decoder.get_layer("linear").get_weights()
        )
        first = first_weight(len(models))
        if first:
            # The logits of neighbours are equal where the first number is at their threshold.
            thresholds = norm.ppf(np.cumsum(shares)[:-1])
            gate_kernel[0] = _GATE_SLOPE * np.arange(len(models)) / self.recipe.prior_std
            gate_bias[1:] = -_GATE_SLOPE * np.cumsum(thresholds)
        for term, (mean, modes) in zip(terms, models, strict=True):
            used = min(len(modes), self.recipe.code_size - first)
            term[0] = np.reshape(mean, -1)
            term[1 + first : 1 + first + used] = (
                np.reshape(modes[:used], (used, term.shape[1])) / self.recipe.prior_std
            )
        self.decoder.get_layer("linear").set_weights([gate_kernel, gate_bias, terms])
        last = self.decoder.get_layer("coordinates")
        last.set_weights([np.zeros_like(weights) for weights in last.get_weights()])

    def save(self, filepath, **kwargs):
        """
        Save as one `.keras` file, whole or not at all, with all three optimizers' state.

        Parameters
        ----------
        filepath : str or Path
        **kwargs
            Passed to `keras.Model.save`.

        Raises
        ------
        ValueError
            If the model is not compiled: there are no optimizers yet.
        """
        if not self.compiled:
            raise ValueError(
                "the model is not compiled: there are no optimizers to save with it; call "
                "compile(), or write its weights alone with export_weights"
            )
        with replacing(filepath) as temporary:
            super().save(temporary, **kwargs)


def first_weight(n_models):
    """Which number of a code is the weight of the first mode, see `start_decoder_at_models`."""
    return 1 if n_models > 1 else 0


def _differences(theirs, mine):
    """In which entries that shapes of weights depend on two recipes differ, in words."""
    keys = ("n_points", "code_size", *NETWORKS, "linear_models", "tnets", "stochastic")
    pairs = {key: (getattr(theirs, key), getattr(mine, key)) for key in (*keys, "standardized")}
    return ", ".join(f"{key} {a} and {b}" for key, (a, b) in pairs.items() if a != b)


def _update(optimizer, variables):
    """A function of gradients that lets an optimizer update its variables."""
    # Built now, so that a saved state finds its place in a model that has not trained yet.
    optimizer.build(variables)

    def update(gradients):
        optimizer.apply(devices.averaged(gradients), variables)

    # Compiled, it is one pass over weights, moments and gradients, not a dozen. Replicas, though,
    # have to meet in the optimizer, which a graph of its own does not allow.
    return update if tf.distribute.has_strategy() else tf.function(update, jit_compile=True)
