"""Starts of training: random weights, a trained model, a cloud, or linear shape models."""

from dataclasses import field
from typing import Annotated, Literal

import numpy as np
import tensorflow as tf
from pydantic import Field
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from ..shapes.clouds import normalize
from ..shapes.splits import proportional_counts
from . import transfer
from .autoencoder import AdversarialAutoencoder
from .batches import draw_clouds
from .checked import checked
from .descent import descend
from .networks import critical_points
from .recipes import NETWORKS

_CODE_WEIGHT = 0.003  # of the error of a code beside that of its cloud
_NOISE = 3e-7  # of refinement; `training.estimate_noise` finds about as much after training

Network = Literal[NETWORKS]


@checked
class Start:
    """
    Where a model's weights come from before training.

    Parameters
    ----------
    model : AdversarialAutoencoder, optional
        Trained on other shapes: networks are taken from it, as large as the recipe's. Without it
        all weights are random.
    networks : sequence of {"encoder", "decoder", "discriminator"}
        Which of its networks to take.
    frozen : dict
        Network -> name of its last layer that does not learn, or how many of its layers do not.
    decoder : {"as it is", "cloud", "shape models"}
        What the decoder's last layer is set to: nothing; the first training cloud as its bias; or
        linear shape models, which the encoder learns to read before training.
    shape_models : sequence of ShapeModel
        For "shape models": one a kind of shape, as many as the recipe's `linear_models`.
    steps : int
        Of the encoder's regression on draws of the shape models, 2 or more.
    limit : float
        Bound of these draws' weights, standard deviations.
    scale : float, optional
        Millimetres of one normalized unit; by default the largest radius of the training shapes.
        Where the encoder is taken and frozen as a whole, it is that of its model, so that codes do
        not move, unless the shapes are of quite another size (half or twice).

    Raises
    ------
    ValueError
        For an unknown network or decoder, or a decoder that is to start from two things.
    """

    model: AdversarialAutoencoder | None = None
    networks: tuple[Network, ...] = NETWORKS
    frozen: dict[Network, Annotated[int, Field(ge=0)] | str] = field(default_factory=dict)
    decoder: Literal["as it is", "cloud", "shape models"] = "as it is"
    shape_models: tuple = ()
    steps: Annotated[int, Field(ge=2)] = 200
    limit: Annotated[float, Field(gt=0)] = 2.5
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def __post_init__(self):
        if self._takes_decoder and self.decoder == "shape models":
            raise ValueError(
                "the decoder can start from shape models or from another model's weights, not from "
                "both; take only the encoder and the discriminator of that model, or no shape "
                "models"
            )

    @property
    def _takes_decoder(self):
        return self.model is not None and "decoder" in self.networks

    def begin(self, points, recipe, seed=0):
        """
        Make the model that training starts from.

        Parameters
        ----------
        points : (n, n_points, 3) array
            Training shapes, mm.
        recipe : Recipe
        seed : int
            Of the random weights and of the draws of shape models.

        Returns
        -------
        AdversarialAutoencoder
            Not compiled.
        """
        aae = AdversarialAutoencoder(recipe, self._scale_for(points), seed, self.frozen)
        if self.model is not None:
            transfer.start_from(aae, self.model, self.networks)
        if self.decoder == "shape models":
            _start_at_shape_models(aae, self, aae.normalize(points)[0], seed)
        elif self.decoder == "cloud":
            cloud = aae.normalize(points[:1])[0][0, : recipe.n_points]
            transfer.start_decoder_at(aae, cloud, learnt=self._takes_decoder)
        return aae

    def _scale_for(self, points):
        if self.scale is not None:
            return self.scale
        scale = normalize(points)[1].scale
        # Networks that have learnt sizes in mm keep them; those of unit spheres take the shapes'.
        if self.model is not None and {"encoder", "decoder"} & {*self.networks}:
            return self.model.scale if 0.5 < scale / self.model.scale < 2 else scale
        return scale


def _start_at_shape_models(aae, start, clouds, seed):
    """Set the decoder to linear shape models and let the encoder learn to read their weights."""
    r, shape_models = aae.recipe, start.shape_models
    bases = [_normalized_basis(model, r.n_points, aae.scale, seed) for model in shape_models]
    starts = []
    for mean, modes in bases:
        # Clouds of two kinds are blended point by point: let points of about the same place meet.
        order = linear_sum_assignment(cdist(bases[0][0][0], mean[0], "sqeuclidean"))[1]
        starts.append((mean[0, order], modes[0][:, order]))
    counts = [model.n_surfaces_ for model in shape_models]
    shares = np.array(counts, float) / sum(counts)
    transfer.start_decoder_at_models(aae, starts, shares)
    draw = _drawer(r, bases, counts, shares, start.limit, seed)

    decode = aae.decoder.get_layer("linear")  # its other layers add nothing yet

    # As far as clouds depend on it, a code is wrong by what is wrong with its cloud. A number that
    # only chooses the kind, or that no mode has, is wrong by itself.
    def loss(points, codes):
        found = aae.encoder(critical_points(aae.encoder, points), training=True)
        found = found[0] if r.stochastic else found
        of_codes = tf.reduce_mean((found - codes) ** 2) / r.prior_std**2
        apart = decode(found) - decode(codes)
        of_clouds = 3 * tf.reduce_mean(apart**2)
        return r.reconstruction_weight * of_clouds + _CODE_WEIGHT * of_codes

    def learn(first, end, draw, name):
        drawn = tf.data.Dataset.range(first, end).map(draw, num_parallel_calls=2).prefetch(2)
        descend(aae.encoder.trainable_variables, loss, drawn, 2e-3, name)

    half = start.steps // 2
    learn(0, half, draw, "encoder of drawn shapes")
    aae.noise = _NOISE
    if r.refinement_steps:  # which gives real shapes, not quite like draws, known codes as well
        draw = _with_real(draw, clouds, aae.codes(clouds), seed)
    learn(half, start.steps, draw, "encoder of drawn and real shapes")


def _with_real(draw, clouds, codes, seed):
    """A drawer like `draw`, a quarter of whose batches are real clouds with known codes."""
    clouds, codes = tf.constant(clouds), tf.constant(codes)

    def mixed(step):
        drawn, of_drawn = draw(step)
        keys = tf.random.experimental.stateless_split(tf.stack([seed, tf.cast(step, tf.int32)]), 2)
        count = len(drawn) // 4
        rows = tf.random.stateless_uniform([count], keys[0], 0, len(clouds), tf.int32)
        # As many points of each, all different if there are enough.
        part, whole = drawn.shape[1], clouds.shape[1]
        order = tf.random.experimental.stateless_shuffle(tf.range(max(part, whole)), keys[1])
        some = tf.gather(tf.gather(clouds, rows), order[:part] % whole, axis=1)
        # In place of some draws of every kind.
        kept = tf.range(len(drawn)) % 4 > 0
        return (
            tf.concat([tf.boolean_mask(drawn, kept), some], axis=0),
            tf.concat([tf.boolean_mask(of_drawn, kept), tf.gather(codes, rows)], axis=0),
        )

    return mixed


def _drawer(recipe, bases, counts, shares, limit, seed, batch_size=32):
    """A function of a step that draws a batch of clouds and the codes they are decoded from."""
    # Kinds as the prior has them: what standardizes codes cannot shift them.
    sizes = proportional_counts(batch_size, counts)
    ends = np.concatenate([[0], np.cumsum(shares)[:-1], [1]]).astype(np.float32)
    has_kinds = len(bases) > 1  # the first number of a code chooses between them

    def draw(step):
        number = tf.cast(step, tf.int32)
        points, codes = [], []
        for i, ((mean, modes), size) in enumerate(zip(bases, sizes, strict=True)):
            keys = tf.random.experimental.stateless_split(tf.stack([seed + 1000 * i, number]), 3)
            clouds, weights = draw_clouds(mean, modes, size, limit, keys[0])
            # A number of the code that no mode has is any draw of the prior.
            free = tf.random.stateless_normal([size, recipe.code_size], keys[1])
            code = tf.concat([weights, free], axis=1)[:, : recipe.code_size - has_kinds]
            if has_kinds:
                share = tf.random.stateless_uniform([size, 1], keys[2], ends[i], ends[i + 1])
                code = tf.concat([tf.math.ndtri(tf.clip_by_value(share, 1e-3, 1 - 1e-3)), code], 1)
            points.append(clouds)
            codes.append(recipe.prior_std * code)
        order = tf.random.experimental.stateless_shuffle(tf.range(recipe.n_points), [seed, number])
        part = tf.gather(tf.concat(points, axis=0), order[: recipe.encoder_points], axis=1)
        return part, tf.concat(codes, axis=0)

    return draw


def _normalized_basis(model, n_points, scale, seed):
    """Mean and modes of a shape model's points, centred, in normalized units."""
    mean, modes = model.point_basis(n_points, seed=seed)
    mean, modes = mean - mean.mean(axis=1, keepdims=True), modes - modes.mean(axis=2, keepdims=True)
    return mean / np.float32(scale), modes / np.float32(scale)
