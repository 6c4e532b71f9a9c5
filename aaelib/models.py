"""The adversarial autoencoder: PointNet encoder, decoder, discriminator, and its training step."""

import dataclasses
import functools
import json
import zlib
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from zipfile import ZipFile

import keras
import numpy as np
import pooch
import tensorflow as tf
from keras import layers
from scipy.stats import norm

from . import cluster
from .clouds import normalize, normals
from .distances import chamfer_loss
from .files import replacing
from .neighbors import nearest_indices

NETWORKS = ("encoder", "decoder", "discriminator")
WEIGHTS = Path(__file__).resolve().parent.parent / "data" / "weights"
SHIPPED = ("sockets", "pretrained")

_REFINEMENT_RATE = 0.2  # standard deviations of the prior, a step
_ANY_DIRECTION = 0.05  # of a squared distance that counts whatever its direction
_GATE_SLOPE = 20.0  # per standard deviation of the prior: a tenth of it is between two kinds


@dataclass(frozen=True)
class Recipe:
    """
    What an adversarial autoencoder is made of and how it learns.

    Parameters
    ----------
    name : str
        What tables and files call it.
    n_points : int
        Points of a reconstructed cloud.
    code_size : int
        Numbers in a latent code.
    prior_std : float
        Standard deviation of the prior N(0, prior_std^2) on each number of the code.
    encoder, decoder, discriminator : tuple of int
        Widths of the hidden layers: shared per point, of the code, of the code.
    linear_models : int
        Linear shape models that the decoder adds to its layers' output, each with a gate that
        opens by the code, see `LinearModels`; none in the paper.
    encoder_points : int or None
        Points that the encoder sees at once. A training step draws that many at random; `encode`
        splits a whole cloud in parts of that size and averages their codes. None: all at once.
    tnets : bool
        Learnt input (3 x 3) and feature transforms, as in PointNet (Qi et al. 2017).
    stochastic : bool
        Codes are drawn from N(mean, std^2) with two heads; otherwise the code is the mean.
    standardized : bool
        The encoder ends in a batch normalization that gives codes the prior's mean and spread;
        left to the discriminator is the shape of their distribution.
    adversarial : {"cross-entropy", "wasserstein"}
        The discriminator's loss: that of Goodfellow et al. (2014), as in the paper, or the
        Wasserstein critic with gradient penalty (Gulrajani et al. 2017), as in 3dAAE
        (Zamorski et al. 2020).
    critic_steps : int
        Discriminator updates in one training step.
    gradient_penalty : float
        Weight of the penalty on the critic's slope (Wasserstein only).
    reduction : {"mean", "sum"}
        Chamfer loss: mean or sum over points.
    reconstruction_weight, discriminator_weight, generator_weight : float
        Weights of the three losses.
    shared_pass : bool
        Encode once in a step. The encoder then learns from the sum of reconstruction and generator
        loss (generator optimizer), the decoder from reconstruction (autoencoder optimizer).
        Otherwise three separate updates, as in the paper; the encoder, which does not change
        between the discriminator's update and its own, runs once for both.
    autoencoder_rate, discriminator_rate, generator_rate : float
        Learning rates (of Adam).
    decay : {"cosine", "constant"}
        How the learning rates go on: down to zero over the run, or unchanged.
    beta_1, beta_2 : float
        Decay of Adam's moments.
    normalization : {"dataset", "unit-sphere"}
        See `aaelib.clouds.normalize`. With "unit-sphere" what is decoded has no size of its own.
    refinement_steps : int
        Steps by which `encode` and `reconstruct` improve the encoder's codes, see
        `AdversarialAutoencoder.refine`; none in the paper.
    finetuning_steps : int
        Steps in which the decoder, after training, learns at refined codes, see
        `aaelib.training.finetune_decoder`; none in the paper.
    finetuning_rate : float
        Their learning rate (of Adam), which falls to zero.
    precision : {"float32", "mixed_bfloat16"}
        Of the arithmetic in encoder and decoder, but for their outputs; weights and losses are
        always float32. "mixed_bfloat16" is meant for accelerators with units for it; on a CPU
        it was slower (`make bench` measures by how much).
    """

    name: str = "compact"
    n_points: int = 2048
    code_size: int = 16
    prior_std: float = 0.2
    encoder: tuple = (64, 128, 256, 256)
    decoder: tuple = (256, 512, 1024)
    discriminator: tuple = (256, 256)
    linear_models: int = 2
    encoder_points: int | None = 512
    tnets: bool = False
    stochastic: bool = False
    standardized: bool = True
    adversarial: str = "wasserstein"
    critic_steps: int = 3
    gradient_penalty: float = 10.0
    reduction: str = "mean"
    reconstruction_weight: float = 100.0
    discriminator_weight: float = 1.0
    generator_weight: float = 0.03
    shared_pass: bool = True
    autoencoder_rate: float = 1e-3
    discriminator_rate: float = 5e-4
    generator_rate: float = 1e-3
    decay: str = "cosine"
    beta_1: float = 0.9
    beta_2: float = 0.999
    normalization: str = "dataset"
    refinement_steps: int = 100
    finetuning_steps: int = 200
    finetuning_rate: float = 3e-4
    precision: str = "float32"

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not _is_accepted(field, value):
                # YAML 1.1 wants a point before the e.
                hint = " (text; in YAML 1e-4 is text, 1.0e-4 a number)" * isinstance(value, str)
                raise ValueError(
                    f"recipe: {field.name} is {value!r}{hint if field.name in _RANGES else ''}; "
                    f"accepted: {_accepted(field)}"
                )
            if field.type is tuple:
                object.__setattr__(self, field.name, tuple(value))


# What entries of a recipe can be; of widths, each of them. Bounds are inclusive.
_CHOICES = {
    "adversarial": ("cross-entropy", "wasserstein"),
    "reduction": ("mean", "sum"),
    "decay": ("cosine", "constant"),
    "normalization": ("dataset", "unit-sphere"),
    "precision": ("float32", "mixed_bfloat16"),
}
_RANGES = {
    "n_points": (1, 1_000_000),
    "code_size": (1, 100_000),
    "prior_std": (1e-6, 1e3),
    "encoder": (1, 100_000),
    "decoder": (1, 100_000),
    "discriminator": (1, 100_000),
    "linear_models": (0, 1000),
    "encoder_points": (1, 1_000_000),
    "critic_steps": (1, 1000),
    "gradient_penalty": (0.0, 1e6),
    "reconstruction_weight": (0.0, 1e6),
    "discriminator_weight": (0.0, 1e6),
    "generator_weight": (0.0, 1e6),
    "autoencoder_rate": (0.0, 1.0),
    "discriminator_rate": (0.0, 1.0),
    "generator_rate": (0.0, 1.0),
    "beta_1": (0.0, 0.99999),
    "beta_2": (0.0, 0.99999),
    "refinement_steps": (0, 1_000_000),
    "finetuning_steps": (0, 1_000_000),
    "finetuning_rate": (0.0, 1.0),
}


def _is_accepted(field, value):
    """Whether a value is of an entry's type and in its range."""
    if field.name in _CHOICES:
        return isinstance(value, str) and value in _CHOICES[field.name]
    if field.name not in _RANGES:
        return isinstance(value, field.type)
    if field.type is tuple:
        values, kind = value, Integral
        if not isinstance(values, list | tuple) or not values:
            return False
    else:
        if value is None:
            return field.type == int | None
        values, kind = (value,), Real if field.type is float else Integral
    low, high = _RANGES[field.name]
    return all(isinstance(v, kind) and not isinstance(v, bool) and low <= v <= high for v in values)


def _accepted(field):
    """The same in words."""
    if field.name in _CHOICES:
        return " or ".join(map(repr, _CHOICES[field.name]))
    if field.name not in _RANGES:
        return {bool: "true or false", str: "text"}[field.type]
    low, high = _RANGES[field.name]
    what = {
        float: "a number",
        tuple: "a list of whole numbers, one a layer, each",
        int | None: "None or a whole number",
    }.get(field.type, "a whole number")
    return f"{what} from {low:g} to {high:g}"


RECIPES = {
    "compact": Recipe(),
    # Costa et al. 2022, section 3, and the code published with it.
    "paper": Recipe(
        name="paper",
        code_size=256,
        encoder=(64, 128, 256, 256, 512),
        decoder=(256, 512, 1024),
        discriminator=(512, 512, 128, 64),
        linear_models=0,
        encoder_points=None,
        tnets=True,
        stochastic=True,
        standardized=False,
        adversarial="cross-entropy",
        critic_steps=1,
        reduction="sum",
        reconstruction_weight=0.05,
        generator_weight=1.0,
        shared_pass=False,
        autoencoder_rate=2e-4,
        discriminator_rate=2.5e-5,
        generator_rate=5e-5,
        decay="constant",
        beta_1=0.5,
        normalization="unit-sphere",
        refinement_steps=0,
        finetuning_steps=0,
    ),
}


def recipe(name="compact", **changes):
    """
    A recipe by name, with some of its entries changed.

    Parameters
    ----------
    name : {"compact", "paper"}
    **changes
        Entries of `Recipe` to replace.

    Returns
    -------
    Recipe

    Raises
    ------
    ValueError
        For an unknown name or entry, or a value out of range.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; accepted: {sorted(RECIPES)}")
    known = {field.name for field in dataclasses.fields(Recipe)}
    if unknown := sorted(set(changes) - known):
        raise ValueError(f"recipe {name!r}: unknown entries {unknown}; accepted: {sorted(known)}")
    return dataclasses.replace(RECIPES[name], **changes)


@keras.saving.register_keras_serializable("aaelib")
class TNet(layers.Layer):
    """
    A learnt linear transform of every point, the identity at first (Qi et al. 2017).

    Its layers per point are linear, as in the code published with Costa et al. (2022); PointNet's
    have ReLU units.

    (n, n_points, channels) -> (n, n_points, channels), in the precision of the points. The
    departure of the transform from an orthogonal one is added to the model's losses with the weight
    1e-3.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def build(self, shape):
        channels = shape[-1]
        self.point_layers = [layers.Dense(width) for width in (64, 128, 1024)]
        self.global_layers = [layers.Dense(width, activation="relu") for width in (512, 256)]
        self.transform = layers.Dense(
            channels**2,
            kernel_initializer="zeros",
            bias_initializer=lambda *_, **__: tf.reshape(tf.eye(channels), [-1]),
        )
        width = channels
        for layer in (*self.point_layers, *self.global_layers, self.transform):
            layer.build((None, width))
            width = layer.units

    def call(self, points):
        matrix = self.matrix(tf.reduce_max(self.point_features(points), axis=1))
        departure = tf.matmul(matrix, matrix, transpose_b=True) - tf.eye(points.shape[-1])
        self.add_loss(1e-3 * tf.nn.l2_loss(departure))
        return tf.matmul(points, tf.cast(matrix, points.dtype))

    def point_features(self, points):
        """What is pooled over points (n, n_points, 1024), but for the bias."""
        # Linear layers one after the other are one linear layer, and multiplying few kernels is
        # cheaper than many points. Where a layer is narrower than the points, it goes first.
        kernels = [layer.kernel for layer in self.point_layers]
        if kernels[0].shape[1] < kernels[0].shape[0]:
            points, kernels = tf.matmul(points, tf.cast(kernels[0], points.dtype)), kernels[1:]
        return tf.matmul(points, tf.cast(functools.reduce(tf.matmul, kernels), points.dtype))

    def matrix(self, pooled):
        """Transforms (n, channels, channels) from pooled features (n, 1024)."""
        first, *others = self.point_layers
        # A bias is the same for all points: it goes through the later layers once.
        bias = first.bias[None]
        for layer in others:
            bias = layer(bias)
        features = tf.cast(pooled, tf.float32) + bias
        for layer in self.global_layers:
            features = layer(features)
        channels = round(self.transform.units**0.5)
        return tf.reshape(self.transform(features), (-1, channels, channels))


def encoder(recipe):
    """PointNet: (n, any number of points, 3) -> codes (n, code_size), or their mean and std."""
    points = keras.Input((None, 3), name="points")
    features = TNet(name="input_transform")(points) if recipe.tnets else points
    for i, width in enumerate(recipe.encoder, start=1):
        features = layers.Dense(
            width, activation="relu", name=f"point_{i}", dtype=recipe.precision
        )(features)
        if recipe.tnets and i == 2:
            features = TNet(name="feature_transform")(features)
    # The maximum over points does not depend on their order.
    features = layers.GlobalMaxPooling1D(name="pool")(features)
    mean = layers.Dense(recipe.code_size, name="mean")(features)
    if recipe.standardized:
        mean = layers.BatchNormalization(
            momentum=0.95,
            center=False,
            scale=False,
            epsilon=1e-6,
            # Of the whole batch, when replicas share it: the same but for rounding.
            synchronized=tf.distribute.has_strategy(),
            name="standardize",
        )(mean)
        mean = layers.Rescaling(recipe.prior_std, name="codes")(mean)
    if not recipe.stochastic:
        return keras.Model(points, mean, name="encoder")
    # softplus: a standard deviation is positive.
    std = layers.Dense(recipe.code_size, activation="softplus", name="std")(features)
    return keras.Model(points, [mean, std], name="encoder")


def critical_points(encoder, points):
    """
    The points that alone decide the codes of a batch.

    They are the points at which some maximum over points is attained (the critical set of Qi et
    al. 2017, theorem 2). For them the encoder gives the codes of the whole clouds, and as nothing
    else passes a maximum, the gradient of the whole clouds; so only they need a forward
    pass that is remembered and a backward pass.

    Parameters
    ----------
    encoder : keras.Model
        Made by `encoder`.
    points : tf.Tensor
        (n, n_points, 3) normalized clouds.

    Returns
    -------
    tf.Tensor
        (n, k, 3), k that of the cloud with most critical points; the others are filled up with
        points of theirs.
    """
    features, critical = points, tf.zeros(tf.shape(points)[:2], tf.bool)
    names = [layer.name for layer in encoder.layers]
    for layer in encoder.layers[1 : names.index("pool")]:
        if isinstance(layer, TNet):
            pooled, attained = _pool(layer.point_features(features))
            critical |= attained
            features = tf.matmul(features, tf.cast(layer.matrix(pooled), features.dtype))
        else:
            features = layer(features)
    critical |= _pool(features)[1]
    k = tf.reduce_max(tf.math.count_nonzero(critical, axis=1, dtype=tf.int32))
    _, chosen = tf.math.top_k(tf.cast(critical, tf.int32), tf.maximum(k, 1))
    return tf.gather(points, chosen, batch_dims=1)


# XLA reads the features twice, where separate operations write and read them several times more.
@tf.function(jit_compile=True)
def _pool(features):
    """Maxima over points (n, channels) of features (n, n_points, channels), and who attains one."""
    maxima = tf.reduce_max(features, axis=1, keepdims=True)
    minima = tf.reduce_min(features, axis=1, keepdims=True)
    # A unit that is off at every point passes no gradient on.
    attained = (features >= maxima) & ((maxima != 0) | (minima != 0))
    return maxima[:, 0], tf.reduce_any(attained, axis=-1)


@keras.saving.register_keras_serializable("aaelib")
class LinearModels(layers.Layer):
    """
    Linear shape models side by side, each with a gate: codes (n, code_size) -> (n, 3 n_points).

    .. math:: \\sum_k g_k(z) (\\mu_k + M_k z), \\quad g(z) = \\mathrm{softmax}(G z + h)

    A mixture of experts (Jacobs et al. 1991) whose experts are shape models: what lies between two
    kinds of shape is often neither. Means and modes are zero at first;
    `AdversarialAutoencoder.start_decoder_at_models` sets what else they can start from.

    Parameters
    ----------
    count : int
        How many models.
    n_points : int
    """

    def __init__(self, count, n_points, **kwargs):
        super().__init__(**kwargs)
        self.count, self.n_points = count, n_points

    def get_config(self):
        return {**super().get_config(), "count": self.count, "n_points": self.n_points}

    def build(self, shape):
        code_size = shape[-1]
        # Random, or all models would learn the same.
        self.gate_kernel = self.add_weight(shape=(code_size, self.count), name="gate_kernel")
        self.gate_bias = self.add_weight(shape=(self.count,), initializer="zeros", name="gate_bias")
        # Of each model its mean, then its modes.
        self.terms = self.add_weight(
            shape=(self.count, 1 + code_size, 3 * self.n_points), initializer="zeros", name="terms"
        )

    def call(self, codes):
        gates = tf.nn.softmax(tf.matmul(codes, self.gate_kernel) + self.gate_bias)
        weights = tf.concat([tf.ones_like(codes[:, :1]), codes], axis=1)
        count, n_terms, width = self.terms.shape
        weights = tf.reshape(gates[:, :, None] * weights[:, None], (-1, count * n_terms))
        return tf.matmul(weights, tf.reshape(self.terms, (count * n_terms, width)))


def decoder(recipe):
    """Codes (n, code_size) -> clouds (n, n_points, 3)."""
    codes = keras.Input((recipe.code_size,), name="codes")
    features = codes
    for i, width in enumerate(recipe.decoder, start=1):
        features = layers.Dense(
            width, activation="relu", name=f"hidden_{i}", dtype=recipe.precision
        )(features)
    coordinates = layers.Dense(3 * recipe.n_points, name="coordinates")(features)
    if recipe.linear_models:
        linear = LinearModels(recipe.linear_models, recipe.n_points, name="linear")(codes)
        coordinates = layers.Add(name="sum")([coordinates, linear])
    return keras.Model(
        codes, layers.Reshape((recipe.n_points, 3), name="cloud")(coordinates), name="decoder"
    )


def discriminator(recipe):
    """Codes (n, code_size) -> one number each: high for codes that look drawn from the prior."""
    codes = keras.Input((recipe.code_size,), name="codes")
    features = codes
    # A critic's slope is penalised: leaky units keep it from being flat.
    activation = "leaky_relu" if recipe.adversarial == "wasserstein" else "relu"
    for i, width in enumerate(recipe.discriminator, start=1):
        features = layers.Dense(width, activation=activation, name=f"hidden_{i}")(features)
    return keras.Model(codes, layers.Dense(1, name="score")(features), name="discriminator")


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
            "discriminator_accuracy": self._accuracy(*map(cluster.all_rows, (real, fake))),
        }

    def _transform_losses(self):
        """Unlike the other losses they are sums over the batch, and so over replicas."""
        return cluster.n_replicas() * sum(self.encoder.losses)

    def _step_values(self, points, codes, reconstruction, fake):
        # The table's Chamfer distance is a mean over points, whatever the loss sums.
        n_points = tf.cast(tf.shape(points)[1], tf.float32)
        mean = reconstruction / n_points if self.recipe.reduction == "sum" else reconstruction
        return {
            "chamfer": mean,
            "generator_loss": self._generator_loss(fake),
            "code_spread": self._code_spread(cluster.all_rows(codes)),
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
        share = cluster.own_rows(
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
        return cluster.own_rows(
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
        noise = cluster.own_rows(
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


def plane_distance(points, point_normals, decoded):
    """
    Chamfer distance that counts mainly the part along the normals of given points.

    As point-to-plane registration does (Chen and Medioni 1992); a twentieth of the squared
    distance counts whatever its direction.

    Parameters
    ----------
    points, point_normals : (n, n_points, 3) tensors
        Given clouds, and unit vectors.
    decoded : (n, m_points, 3) tensor

    Returns
    -------
    (n,) tensor
        Both directions summed.
    """
    to_points, to_decoded = nearest_indices(decoded, points), nearest_indices(points, decoded)
    pairs = (
        (
            decoded - tf.gather(points, to_points, batch_dims=1),
            tf.gather(point_normals, to_points, batch_dims=1),
        ),
        (tf.gather(decoded, to_decoded, batch_dims=1) - points, point_normals),
    )
    return sum(
        tf.reduce_mean(
            tf.reduce_sum(way * normal, axis=-1) ** 2
            + _ANY_DIRECTION * tf.reduce_sum(way**2, axis=-1),
            axis=1,
        )
        for way, normal in pairs
    )


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
        optimizer.apply(cluster.averaged(gradients), variables)

    # Compiled, it is one pass over weights, moments and gradients, not a dozen. Replicas, though,
    # have to meet in the optimizer, which a graph of its own does not allow.
    return update if tf.distribute.has_strategy() else tf.function(update, jit_compile=True)


def export_weights(aae, path):
    """
    Write what a model needs to be used, but not to be trained on, in about half the bytes.

    Weights are half precision, but for what is added to coordinates of points (linear terms,
    biases): half a thousandth of a socket's size would be seen in millimetres. The state of the
    optimizers is left out.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    path : Path
        An `.npz` file, which `load` reads.
    """
    arrays = {"config": np.array(json.dumps(aae.get_config()))}
    for network in NETWORKS:
        for i, weight in enumerate(getattr(aae, network).weights):
            exact = weight.path.endswith(("linear/terms", "coordinates/bias")) or weight.ndim == 1
            arrays[f"{network}_{i}"] = np.asarray(weight, np.float32 if exact else np.float16)
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)


def _imported(path):
    """The model that `export_weights` wrote."""
    try:
        with np.load(path, allow_pickle=False) as file:
            aae = AdversarialAutoencoder.from_config(json.loads(str(file["config"])))
            for network in NETWORKS:
                count = len(getattr(aae, network).weights)
                weights = [file[f"{network}_{i}"] for i in range(count)]
                if not all(np.isfinite(weight).all() for weight in weights):
                    raise ValueError(f"weights of the {network} are not finite")
                getattr(aae, network).set_weights(weights)
    except Exception as error:  # bytes at random fail in many ways
        raise ValueError(
            f"{path} does not hold weights written by export_weights ({_brief(error)}); write or "
            "download it again"
        ) from error
    return aae


def _saved(path):
    """The model that `AdversarialAutoencoder.save` wrote."""
    try:
        with ZipFile(path) as file:
            config = json.loads(file.read("config.json"))
            made = config["class_name"]
    except Exception as error:  # as above
        raise ValueError(
            f"{path} is no whole Keras file ({_brief(error)}); save or download it again"
        ) from error
    # Before Keras makes anything of what is in there.
    if '"class_name": "Lambda"' in json.dumps(config):
        raise ValueError(
            f"{path} is refused: it has a Lambda layer, code that would run here; accepted are "
            "models that AdversarialAutoencoder.save has written, which have none"
        )
    if made != AdversarialAutoencoder.__name__:
        raise ValueError(
            f"{path} holds a {made}, not an AdversarialAutoencoder; name a file that its save has "
            "written"
        )
    try:
        aae = keras.saving.load_model(path, safe_mode=True)
        if not isinstance(aae, AdversarialAutoencoder):
            raise TypeError(f"it is a {type(aae)}")
    except Exception as error:  # as above
        raise ValueError(
            f"{path} holds no AdversarialAutoencoder that can be made again ({_brief(error)}); "
            "save or download it again"
        ) from error
    return aae


def _brief(error):
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return what if len(what) <= 300 else what[:300] + "..."


def _shipped(name):
    """The file of a model that comes with the repository, if it is the one that was published."""
    file, registry = WEIGHTS / f"{name}.npz", WEIGHTS / "registry.txt"
    for needed in (file, registry):
        if not needed.exists():
            raise FileNotFoundError(
                f"{needed} is missing; it comes with the repository: get it again from there"
            )
    published = dict(line.split() for line in registry.read_text().splitlines() if line.strip())
    if pooch.file_hash(str(file)) != published.get(file.name):
        raise ValueError(
            f"{file} is not the file that {registry} names: its sha256 is another; get it again "
            "from the repository"
        )
    return file


def load(path):
    """
    Load a model, ready to use; one saved by `AdversarialAutoencoder.save` also to train on.

    Parameters
    ----------
    path : str or Path
        A `.keras` file, or an `.npz` file written by `export_weights`. "sockets" and "pretrained"
        are the models that come with the repository (`data/weights`).

    Returns
    -------
    AdversarialAutoencoder

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a model of this module.
    """
    path = _shipped(path) if path in SHIPPED else Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"no model at {path}; `make reproduce` trains and saves them, and "
            f"{' and '.join(map(repr, SHIPPED))} come with the repository"
        )
    readers = {".npz": _imported, ".keras": _saved}
    if path.suffix not in readers or not path.is_file():
        raise ValueError(f"{path} is no model; accepted: a file .keras, or .npz of export_weights")
    return readers[path.suffix](path)
