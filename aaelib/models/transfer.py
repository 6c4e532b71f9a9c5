"""Starts of a model: another model's networks, a cloud, or linear shape models."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import norm

from .recipes import NETWORKS

# Entries of a recipe that two models must share if one is to start from the other's networks: by
# them weights have their shapes and their meaning.
_SHARED = {
    "encoder": "encoder code_size tnets stochastic standardized prior_std normalization",
    "decoder": "decoder code_size n_points linear_models prior_std normalization",
    "discriminator": "discriminator code_size prior_std adversarial",
}
_MEAN_DRAWS = 256  # draws of the prior over which a decoder's mean is taken
_GATE_SLOPE = 20.0  # a standard deviation; two kinds mix within a tenth of one


def freeze(network, last):
    """
    Keep the first layers of a network from learning.

    `last` is the name of the last of them, or how many layers with weights they are. The name of
    the last one is returned; it is None where `last` is 0.
    """
    names = [layer.name for layer in network.layers]
    if isinstance(last, int):
        learning = [layer.name for layer in network.layers if layer.weights]
        if not 0 <= last <= len(learning):
            raise ValueError(f"{network.name} has {len(learning)} layers with weights, not {last}")
        last = [None, *learning][last]
    elif last not in names:
        raise ValueError(f"{network.name} has no layer {last!r}; it has {names}")
    for layer in network.layers[: names.index(last) + 1 if last else 0]:
        layer.trainable = False
    return last


def start_from(aae, other, networks=NETWORKS):
    """
    Copy the weights of another model's networks.

    Raises
    ------
    ValueError
        If entries of the recipe differ that give these weights their shapes and their meaning.
    """
    # Check all of them before any is changed.
    for network in networks:
        if differ := differences(other.recipe, aae.recipe, network):
            raise ValueError(
                f"the {network} of recipe {other.recipe.name!r} does not suit {aae.recipe.name!r}: "
                f"{', '.join(differ)}; make these entries the same, or leave that network out"
            )
    for network in networks:
        getattr(aae, network).set_weights(getattr(other, network).get_weights())


def differences(a, b, network):
    """Entries, with their values, by which a network of recipe `a` does not suit recipe `b`."""
    pairs = [(entry, getattr(a, entry), getattr(b, entry)) for entry in _SHARED[network].split()]
    return [f"{entry} {its} and {mine}" for entry, its, mine in pairs if its != mine]


def start_decoder_at(aae, cloud, learnt):
    """
    Move what the decoder draws, so that its mean is a normalized cloud (n_points, 3).

    Of a decoder that has `learnt`, the cloud's points are taken in its order, that of the optimal
    assignment to its mean before. So what it knows about which points move together is kept.
    """
    mean = aae.decoder(aae.draw_prior(_MEAN_DRAWS)).numpy().mean(axis=0)
    order = np.arange(len(cloud))
    if learnt:
        order = linear_sum_assignment(cdist(mean, cloud, "sqeuclidean"))[1]
    bias = aae.decoder.get_layer("coordinates").bias
    bias.assign_add(np.reshape(cloud[order] - mean, -1))


def start_decoder_at_models(aae, models, shares):
    """
    Let the decoder be linear shape models, one a kind of shape; its other layers add nothing.

    The first number of a code chooses the kind, by intervals with the kinds' shares of the prior;
    the others are weights of the modes. With one model all are weights. So draws of the prior are
    draws of the shape models.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    models : sequence of (mean, modes)
        (n_points, 3) and (n_modes, n_points, 3), normalized; modes are scaled to one standard
        deviation. Modes beyond the size of the code are left out.
    shares : sequence of float
        One a model, with the sum 1.
    """
    recipe = aae.recipe
    if not models or len(models) != recipe.linear_models:
        raise ValueError(
            f"{len(models)} shape models for a recipe with linear_models = "
            f"{recipe.linear_models}; they must be as many, and one or more"
        )
    if recipe.normalization != "dataset":
        raise ValueError(
            f"the recipe's normalization is {recipe.normalization!r}; a decoder starts as "
            'shape models with "dataset" only, in which draws of them stay linear'
        )
    linear, last = aae.decoder.get_layer("linear"), aae.decoder.get_layer("coordinates")
    gate_kernel, gate_bias, terms = map(np.zeros_like, linear.get_weights())
    # At a threshold the logits of its two kinds are equal. One model has none: its gate is open.
    thresholds = norm.ppf(np.cumsum(shares)[:-1])
    gate_kernel[0] = _GATE_SLOPE * np.arange(len(models)) / recipe.prior_std
    gate_bias[1:] = -_GATE_SLOPE * np.cumsum(thresholds)
    first = int(len(models) > 1)  # the number of a code that is the weight of the first mode
    for term, (mean, modes) in zip(terms, models, strict=True):
        used = modes[: recipe.code_size - first].reshape(-1, term.shape[1])
        term[0] = mean.reshape(-1)
        term[1 + first : 1 + first + len(used)] = used / recipe.prior_std
    linear.set_weights([gate_kernel, gate_bias, terms])
    last.set_weights([np.zeros_like(weights) for weights in last.get_weights()])
