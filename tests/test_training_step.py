"""The training step, in few passes, computes what the plain formulas compute in many."""

from contextlib import nullcontext
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from aaelib.models import autoencoder, networks, recipes

N_POINTS = 200
RECIPES = {
    "compact": recipes.recipe(
        "compact", n_points=N_POINTS, encoder=(16, 32), decoder=(16,), discriminator=(8,)
    ),
    "paper": recipes.recipe(
        "paper", n_points=N_POINTS, code_size=6, decoder=(16,), discriminator=(8,)
    ),
}


@pytest.fixture
def points():
    """Normalized ellipsoids of various lengths."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(5, N_POINTS, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return tf.constant(directions * rng.uniform(0.3, 1, size=(5, 1, 3)), tf.float32)


def model_of(name, **changes):
    """A model whose transforms are not the identity and whose biases are not zero."""
    model = autoencoder.AdversarialAutoencoder(replace(RECIPES[name], **changes), seed=1)
    rng = np.random.default_rng(2)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.02 * rng.normal(size=variable.shape))
    return model


# The plain formulas


def plain_transform(net, points):
    """A T-Net layer by layer, and its departure from an orthogonal transform."""
    features = points
    for layer in net.point_layers:
        features = layer(features)
    features = tf.reduce_max(features, axis=1)
    for layer in net.global_layers:
        features = layer(features)
    channels = points.shape[-1]
    matrix = tf.reshape(net.transform(features), (-1, channels, channels))
    departure = matrix @ tf.transpose(matrix, (0, 2, 1)) - tf.eye(channels)
    return points @ matrix, 1e-3 * tf.reduce_sum(departure**2) / 2


def plain_codes(model, points, part, noise=None):
    """Codes from all points that the encoder sees, and the transforms' loss."""
    encoder, loss = model.encoder, 0.0
    features = model._draw_part(points, part)
    for layer in encoder.layers[1:]:
        if isinstance(layer, networks.TNet):
            features, departure = plain_transform(layer, features)
            loss += departure
        elif layer.name == "pool":
            features = tf.reduce_max(features, axis=1)
            break
        else:
            features = layer(features)
    mean = encoder.get_layer("mean")(features)
    if model.recipe.standardized:
        mean = encoder.get_layer("standardize")(mean, training=True)
        return encoder.get_layer("codes")(mean), loss
    std = encoder.get_layer("std")(features)
    seed = model._step_seed(f"{noise or part} noise")
    return mean + std * tf.random.stateless_normal(tf.shape(mean), seed), loss


def plain_reconstruction(model, points, codes):
    squared = tf.reduce_sum((points[:, :, None] - model.decoder(codes)[:, None]) ** 2, axis=-1)
    reduce = tf.reduce_mean if model.recipe.reduction == "mean" else tf.reduce_sum
    chamfer = reduce(tf.reduce_min(squared, 1), -1) + reduce(tf.reduce_min(squared, 2), -1)
    return model.recipe.reconstruction_weight * tf.reduce_mean(chamfer)


def plain_deception(model, codes):
    return model.recipe.generator_weight * model._generator_loss(model.discriminator(codes))


def plain_criticism(model, codes, i):
    codes = tf.stop_gradient(codes)
    prior = model._prior(codes.shape, f"prior {i}")
    loss = model._discriminator_loss(model.discriminator(prior), model.discriminator(codes))
    if model.recipe.adversarial == "wasserstein":
        loss += model.recipe.gradient_penalty * model._slope_penalty(prior, codes, i)
    return model.recipe.discriminator_weight * loss


def gradients(loss, variables):
    """Gradients of a function's value."""
    with tf.GradientTape() as tape:
        value = loss()
    return tape.gradient(value, variables)


# What the encoder needs to see


@pytest.mark.parametrize("name", ["compact", "paper"])
def test_critical_points_have_the_codes_and_gradients_of_the_whole_clouds(points, name):
    encoder = model_of(name).encoder
    critical = networks.critical_points(encoder, points)

    def loss(points):
        outputs = encoder(points)
        return sum(tf.reduce_sum(o**2) for o in tf.nest.flatten(outputs)) + sum(encoder.losses)

    for one, other in zip(*(tf.nest.flatten(encoder(p)) for p in (critical, points)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    found = gradients(lambda: loss(critical), encoder.trainable_variables)
    expected = gradients(lambda: loss(points), encoder.trainable_variables)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())


def test_critical_points_are_points_of_their_cloud_and_fewer(points):
    critical = networks.critical_points(model_of("compact").encoder, points).numpy()
    assert critical.shape[1] <= 32 < N_POINTS
    for few, cloud in zip(critical, points.numpy(), strict=True):
        assert {tuple(p) for p in few} <= {tuple(p) for p in cloud}
        assert len(np.unique(few, axis=0)) == len(few)


def test_a_unit_that_is_off_at_every_point_makes_none_of_them_critical(points):
    encoder = model_of("compact").encoder
    last = encoder.get_layer("point_2")
    last.bias.assign(-100 + tf.zeros(32))
    assert networks.critical_points(encoder, points).shape[1] == 1
    last.bias.assign(tf.concat([[0.0], -100 + tf.zeros(31)], 0))
    assert networks.critical_points(encoder, points).shape[1] == 1


def test_points_that_no_unit_of_a_transform_sees_are_critical_where_the_others_are_below(points):
    """Of linear features, unlike of rectified ones, zero can be the largest."""
    encoder = model_of("paper").encoder
    encoder.get_layer("point_2").bias.assign(-0.2 + tf.zeros(128))
    near = tf.concat([points, tf.zeros((5, 1, 3))], axis=1)
    critical = networks.critical_points(encoder, near)
    for one, other in zip(encoder(critical), encoder(near), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    features = keras.Model(encoder.input, encoder.get_layer("point_2").output)(near)
    maxima = tf.reduce_max(encoder.get_layer("feature_transform").point_features(features), axis=1)
    assert (maxima.numpy() == 0).any()


def test_critical_points_in_mixed_precision_have_the_codes_of_the_whole_clouds(points):
    encoder = model_of("paper", precision="mixed_bfloat16").encoder
    critical = networks.critical_points(encoder, points)
    assert critical.shape[1] < N_POINTS
    for one, other in zip(encoder(critical), encoder(points), strict=True):
        np.testing.assert_allclose(one, other, atol=0.01 * np.abs(other).max())


def test_transform_is_that_of_its_layers_one_after_the_other(points):
    encoder = model_of("paper").encoder
    features = {"input_transform": points, "feature_transform": tf.random.normal((2, 40, 128))}
    for name, inputs in features.items():
        net = encoder.get_layer(name)
        expected, departure = plain_transform(net, inputs)
        np.testing.assert_allclose(net(inputs), expected, atol=1e-4)
        np.testing.assert_allclose(sum(net.losses), departure, rtol=1e-4)


# Whole steps


def descend(rate, *pairs):
    """Move each list of variables down its gradients, all at once."""
    for variables, *parts in pairs:
        for variable, *gradient in zip(variables, *parts, strict=True):
            variable.assign_sub(rate * sum(gradient))


def criticise(model, rate, criticism):
    critic = model.discriminator.trainable_variables
    descend(rate, (critic, gradients(criticism, critic)))


def plain_shared_step(model, points, rate):
    """Each loss by itself, at the same weights and with the same noise: a pass each."""
    encoder, decoder = (net.trainable_variables for net in (model.encoder, model.decoder))
    codes, _ = plain_codes(model, points, "codes")

    def reconstruction():
        drawn, departure = plain_codes(model, points, "codes")
        return plain_reconstruction(model, points, drawn) + departure

    def deception():
        return plain_deception(model, plain_codes(model, points, "codes")[0])

    descend(
        rate,
        (encoder, gradients(reconstruction, encoder), gradients(deception, encoder)),
        (decoder, gradients(reconstruction, decoder)),
    )
    model.autoencoder_optimizer.iterations.assign_add(1)  # what the noise to come depends on
    for i in range(model.recipe.critic_steps):
        criticise(model, rate, lambda i=i: plain_criticism(model, codes, i))


def plain_three_steps(model, points, rate):
    """One update after the other, each from a pass of its own at the weights that it finds."""
    encoder, decoder = (net.trainable_variables for net in (model.encoder, model.decoder))

    def reconstruction():
        codes, departure = plain_codes(model, points, "autoencoder")
        return plain_reconstruction(model, points, codes) + departure

    descend(rate, (encoder + decoder, gradients(reconstruction, encoder + decoder)))
    model.autoencoder_optimizer.iterations.assign_add(1)  # what the noise to come depends on

    def criticism(i):
        # Another noise, of the same part of each cloud.
        codes, _ = plain_codes(model, points, "generator", f"discriminator {i}")
        return plain_criticism(model, codes, i)

    def deception():
        return plain_deception(model, plain_codes(model, points, "generator")[0])

    for i in range(model.recipe.critic_steps):
        criticise(model, rate, lambda i=i: criticism(i))
    descend(rate, (encoder, gradients(deception, encoder)))


@pytest.mark.parametrize("name", ["compact", "paper"])
@pytest.mark.parametrize("plain_step", [plain_shared_step, plain_three_steps])
def test_a_step_is_what_the_plain_formulas_make_of_it(points, name, plain_step):
    changes = {"shared_pass": plain_step is plain_shared_step, "critic_steps": 2}
    changes |= {"encoder_points": 100, "generator_weight": 1.0}
    rate = 0.01
    model, expected = model_of(name, **changes), model_of(name, **changes)
    before = [variable.numpy() for variable in expected.trainable_variables]
    for each in (model, expected):
        each.compile(*(keras.optimizers.SGD(rate) for _ in networks.NETWORKS))
    model.train_step(points)
    plain_step(expected, points, rate)
    pairs = zip(model.trainable_variables, expected.trainable_variables, strict=True)
    steps = [
        np.abs(v.numpy() - b).max()
        for v, b in zip(expected.trainable_variables, before, strict=True)
    ]
    assert np.median(steps) > 1e-5
    for (one, other), largest in zip(pairs, steps, strict=True):
        # Of a step as small as that, single precision in the weight is what is left.
        np.testing.assert_allclose(one, other, atol=1e-3 * largest + 2e-7, err_msg=one.path)


def test_a_compiled_update_is_the_optimizers_own():
    """With moments and a schedule; where there is a strategy, the update is not compiled."""
    gradients = [tf.random.stateless_normal((4, 3), [0, i]) for i in range(3)]
    results = []
    for strategy in (None, tf.distribute.OneDeviceStrategy("CPU:0")):
        with strategy.scope() if strategy else nullcontext():
            variable = keras.Variable(tf.ones((4, 3)))
            optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 4))
            update = autoencoder._update(optimizer, [variable])
        for gradient in gradients:
            strategy.run(update, args=([gradient],)) if strategy else update([gradient])
        assert int(optimizer.iterations) == 3
        results.append(variable.numpy())
    np.testing.assert_allclose(*results, rtol=1e-6)
    assert np.abs(results[0] - 1).min() > 0.01
