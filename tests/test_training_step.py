"""The training step, in few passes, computes what the plain formulas compute in many."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from analytic import ellipsoids

from aaelib.models import adversarial, autoencoder, descent, networks, recipes
from aaelib.models.draws import Draws
from benchmarks.original import broadcast_chamfer, plain_transform

TESTS = Path(__file__).parent
N_POINTS = 200
SMALL = {"n_points": N_POINTS, "decoder": (16,), "discriminator": (8,)}
RECIPES = {
    "compact": recipes.recipe("compact", SMALL, encoder=(16, 32)),
    "paper": recipes.recipe("paper", SMALL, code_size=6),
}


def normalized_ellipsoids(count):
    return tf.constant(ellipsoids(count, N_POINTS, 0.3, 1), tf.float32)


@pytest.fixture
def points():
    return normalized_ellipsoids(5)


def model_of(name, **changes):
    """A model whose transforms are not the identity and whose biases are not zero."""
    model = autoencoder.AdversarialAutoencoder(replace(RECIPES[name], **changes), seed=1)
    rng = np.random.default_rng(2)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.02 * rng.normal(size=variable.shape))
    return model


# The plain formulas


def draws_of(model):
    return Draws(model.seed, model.autoencoder_optimizer.iterations)


def plain_codes(model, points, part, noise=None):
    """Codes from all points that the encoder sees, and the transforms' loss."""
    encoder, loss, draws = model.encoder, 0.0, draws_of(model)
    features = draws.part(points, model.recipe.encoder_points, f"{part} part")
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
    return mean + std * draws.normal(tf.shape(mean), f"{noise or part} noise"), loss


def plain_reconstruction(model, points, part):
    """With the transforms' loss."""
    codes, departure = plain_codes(model, points, part)
    reduce = tf.reduce_mean if model.recipe.reduction == "mean" else tf.reduce_sum
    chamfer = broadcast_chamfer(points, model.decoder(codes), reduce)
    return model.recipe.reconstruction_weight * tf.reduce_mean(chamfer) + departure


def plain_deception(model, points, part):
    codes, _ = plain_codes(model, points, part)
    loss = adversarial.generator_loss(model.recipe.adversarial, model.discriminator(codes))
    return model.recipe.generator_weight * loss


def plain_criticism(model, codes, i):
    r, critic, draws = model.recipe, model.discriminator, draws_of(model)
    codes = tf.stop_gradient(codes)
    prior = draws.normal(codes.shape, f"prior {i}", r.prior_std)
    loss = adversarial.discriminator_loss(r.adversarial, critic(prior), critic(codes))
    if r.adversarial == "wasserstein":
        share = draws.uniform((len(codes), 1), f"penalty {i}")
        between = share * prior + (1 - share) * codes
        penalty = adversarial.gradient_penalty(critic, between, r.prior_std)
        loss += r.gradient_penalty * penalty
    return r.discriminator_weight * loss


def gradients(loss, variables):
    """Gradients of a function's value."""
    with tf.GradientTape() as tape:
        value = loss()
    return tape.gradient(value, variables)


# What the encoder needs to see


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


# Whole steps


def descend(rate, *pairs):
    """Move each list of variables down the gradient of its loss, all at once."""
    slopes = [(variables, gradients(loss, variables)) for variables, loss in pairs]
    for variables, slope in slopes:
        for variable, gradient in zip(variables, slope, strict=True):
            variable.assign_sub(rate * gradient)


def criticise(model, rate, codes, i):
    critic = model.discriminator.trainable_variables
    descend(rate, (critic, lambda: plain_criticism(model, codes, i)))


def plain_shared_step(model, points, rate):
    """Each loss by itself, at the same weights and with the same noise: a pass each."""
    encoder, decoder = (net.trainable_variables for net in (model.encoder, model.decoder))
    codes, _ = plain_codes(model, points, "codes")

    def reconstruction():
        return plain_reconstruction(model, points, "codes")

    def both():
        return reconstruction() + plain_deception(model, points, "codes")

    descend(rate, (encoder, both), (decoder, reconstruction))
    model.autoencoder_optimizer.iterations.assign_add(1)  # what the noise to come depends on
    for i in range(model.recipe.critic_steps):
        criticise(model, rate, codes, i)


def plain_three_steps(model, points, rate):
    """One update after the other, each from a pass of its own at the weights that it finds."""
    encoder, decoder = (net.trainable_variables for net in (model.encoder, model.decoder))
    descend(rate, (encoder + decoder, lambda: plain_reconstruction(model, points, "autoencoder")))
    model.autoencoder_optimizer.iterations.assign_add(1)  # what the noise to come depends on
    for i in range(model.recipe.critic_steps):
        # Another noise, of the same part of each cloud.
        codes, _ = plain_codes(model, points, "generator", f"discriminator {i}")
        criticise(model, rate, codes, i)
    descend(rate, (encoder, lambda: plain_deception(model, points, "generator")))


@pytest.mark.parametrize("name", ["compact", "paper"])
@pytest.mark.parametrize("plain_step", [plain_shared_step, plain_three_steps])
def test_a_step_is_what_the_plain_formulas_make_of_it(points, name, plain_step):
    changes = {"shared_pass": plain_step is plain_shared_step, "critic_steps": 2}
    changes |= {"encoder_points": 100, "generator_weight": 1.0}
    rate = 0.01
    model, expected = model_of(name, **changes), model_of(name, **changes)
    before = [variable.numpy() for variable in expected.trainable_variables]
    for each in (model, expected):
        each.compile(*(keras.optimizers.SGD(rate) for _ in recipes.NETWORKS))
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


# Replicas


def change_by_a_step(rate, name, points, strategy=None, **changes):
    """Change of all weights in a step of plain gradient descent."""
    with (strategy or tf.distribute.get_strategy()).scope():
        model = model_of(name, **changes)
        model.compile(*(keras.optimizers.SGD(rate) for _ in recipes.NETWORKS))
    before = [variable.numpy() for variable in model.trainable_variables]
    if strategy:
        strategy.run(model.train_step, (points,))
    else:
        model.train_step(points)
    pairs = zip(model.trainable_variables, before, strict=True)
    return np.concatenate([(after.numpy() - old).ravel() for after, old in pairs])


# Draws of the prior are all zero but for rounding, and nothing else is drawn.
WITHOUT_NOISE = {
    "prior_std": 1e-6,
    "adversarial": "cross-entropy",
    "standardized": False,
    "stochastic": False,
    "encoder_points": None,
    "generator_weight": 1.0,
    "reduction": "mean",
    "reconstruction_weight": 1.0,
}


def on_two_replicas(folder):
    """Compute on two logical CPUs, which a process has to set up before anything else."""
    cpu, part = tf.config.list_physical_devices("CPU")[0], tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [part, part])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found, points = {}, normalized_ellipsoids(6)
    halves = strategy.experimental_distribute_values_from_function(
        lambda context: points[context.replica_id_in_sync_group :: 2]
    )
    for name in RECIPES:
        found[f"{name} one"] = change_by_a_step(0.1, name, points, **WITHOUT_NOISE)
        found[f"{name} two"] = change_by_a_step(0.1, name, halves, strategy, **WITHOUT_NOISE)
    draws = Draws(1, tf.Variable(3))
    drawn = strategy.run(lambda: draws.normal((4,), "prior 0"))
    found["draws"] = np.stack(strategy.experimental_local_results(drawn))
    np.savez(Path(folder) / "found.npz", **found)


@pytest.fixture(scope="module")
def two_replicas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    code = "import sys, test_training_step as steps; steps.on_two_replicas(sys.argv[1])"
    places = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    environment = os.environ | {"PYTHONPATH": places}
    subprocess.run([sys.executable, "-c", code, folder], env=environment, check=True)
    with np.load(folder / "found.npz") as found:
        return dict(found)


@pytest.mark.parametrize("name", ["compact", "paper"])
def test_two_replicas_with_half_a_batch_each_step_as_one_device_with_all_of_it(two_replicas, name):
    found, expected = two_replicas[f"{name} two"], two_replicas[f"{name} one"]
    largest = np.abs(expected).max()
    assert largest > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * largest + 2e-7)


def test_replicas_draw_other_numbers_than_each_other(two_replicas):
    first, second = two_replicas["draws"]
    assert (first != second).all()


# Distances between codes and the prior


def means(matching, codes, trials=20):
    """Mean of `mismatch` over draws of the prior N(0, 0.2^2) and of directions."""
    found = []
    for seed in range(trials):
        prior = tf.random.stateless_normal(codes.shape, [seed, 1], stddev=0.2)
        directions = tf.random.stateless_normal([codes.shape[1], 64], [seed, 2])
        found.append(float(adversarial.mismatch(matching, codes, prior, 0.2, directions)))
    return np.mean(found), np.std(found) / np.sqrt(trials)


def test_cross_entropies_of_scores_have_one_gradient_whatever_is_ready_first():
    real, fake = tf.constant([[3.0], [-40.0], [0.2]]), tf.constant([[-1.0], [0.5], [50.0]])

    @tf.function
    def losses(real, fake):
        values = adversarial.discriminator_loss("cross-entropy", real, fake)
        deceived = adversarial.generator_loss("cross-entropy", fake)
        return values, deceived, *tf.gradients(values, [real, fake]), *tf.gradients(deceived, fake)

    right, wrong = np.log1p(np.exp(-fake.numpy())), np.log1p(np.exp(fake.numpy()))
    found = losses(real, fake)
    np.testing.assert_allclose(found[0], np.log1p(np.exp(-real)).mean() + wrong.mean(), rtol=1e-6)
    np.testing.assert_allclose(found[1], right.mean(), rtol=1e-6)
    np.testing.assert_allclose(found[-1], -1 / (1 + np.exp(fake)) / 3, rtol=1e-5)
    # TensorFlow adds three terms or more in the order in which their memory is free.
    operations = losses.get_concrete_function(real, fake).graph.get_operations()
    assert all(len(each.inputs) <= 2 for each in operations if each.type == "AddN")


@pytest.mark.parametrize("matching", ["mmd", "sliced Wasserstein"])
def test_a_mismatch_is_least_for_draws_of_the_prior(matching):
    codes = tf.random.stateless_normal([256, 4], [9, 9], stddev=0.2)
    alike, error = means(matching, codes)
    for other in (codes + 0.1, 1.5 * codes, 0.5 * codes, tf.abs(codes)):
        assert means(matching, other)[0] > alike + 5 * error


def test_a_mmd_of_two_by_two_points_is_what_one_gets_by_hand():
    codes, prior = tf.constant([[0.0], [1.0]]), tf.constant([[0.0], [2.0]])
    k = lambda squared: sum(2 * s / (2 * s + squared) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))  # noqa: E731
    expected = k(1) + k(4) - 2 * (k(0) + k(4) + k(1) + k(1)) / 4
    found = adversarial.mismatch("mmd", codes, prior, 1.0, None)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_sliced_wasserstein_on_one_axis_is_the_distance_of_sorted_numbers():
    codes, prior = tf.constant([[3.0], [0.0], [1.0]]), tf.constant([[1.0], [2.0], [0.0]])
    found = adversarial.mismatch("sliced Wasserstein", codes, prior, 1.0, tf.constant([[-2.0]]))
    np.testing.assert_allclose(found, (0 + 0 + 1) / 3)


@pytest.mark.parametrize("matching", ["mmd", "sliced Wasserstein"])
def test_with_a_distance_the_discriminator_only_watches(points, matching):
    """Its weights make no difference to the encoder's step."""
    after = []
    for factor in (1.0, 3.0):
        model = model_of("compact", matching=matching, generator_weight=1.0)
        critic = model.discriminator
        critic.set_weights([factor * weights for weights in critic.get_weights()])
        model.compile()
        before = critic.get_weights()
        model.train_step(points)
        assert not all(map(np.array_equal, critic.get_weights(), before))
        after.append(model.encoder.get_weights())
    np.testing.assert_equal(*after)


@pytest.mark.parametrize(
    "options",
    [
        {"beta_1": 0.5},
        {"learning_rate": keras.optimizers.schedules.CosineDecay(0.01, 4)},
        {"clipnorm": 0.1},
        {"weight_decay": 0.1},
        {"amsgrad": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_an_update_is_that_of_keras(options):
    start = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    ours, theirs = keras.Variable(start), keras.Variable(start)
    reference = keras.optimizers.Adam(**{"learning_rate": 0.01} | options)
    update = descent.updater(reference.from_config(reference.get_config()), [ours])
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(ours.value**4)
        update(tape, loss)
        reference.apply([4 * theirs.value**3], [theirs])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert np.abs(ours - start).max() > 1e-3
