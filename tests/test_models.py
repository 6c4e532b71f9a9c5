"""The networks, the training step, saving and transfer."""

import hashlib
import random

import analytic
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import TINY
from scipy.spatial import cKDTree
from scipy.stats import norm

from aaelib.models import (
    autoencoder,
    exported,
    files,
    losses,
    networks,
    recipes,
    refinement,
    training,
    transfer,
)
from aaelib.shapes.clouds import normals

# Codes are the encoder's.
SMALL = TINY | {"n_points": 64, "encoder": (16, 16), "decoder": (16,), "refinement_steps": 0}


def tiny(name="compact", frozen=None, **changes):
    return autoencoder.AdversarialAutoencoder(
        recipes.recipe(name, SMALL, **changes), 100.0, frozen=frozen
    )


def compiled(name="compact", **options):
    model = tiny(name, **options)
    model.compile()
    return model


@pytest.fixture
def clouds():
    """Ellipsoids of various lengths, about 100 mm across, away from the origin."""
    return np.float32(analytic.ellipsoids(6, 64, 30, 100) + np.array([5.0, -3.0, 40.0]))


def normalized(clouds):
    return (clouds - clouds.mean(axis=1, keepdims=True)) / 100


def step(model, clouds, times=1):
    for _ in range(times):
        model.train_step(keras.ops.convert_to_tensor(normalized(clouds)))


def weights(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


# The networks


def test_paper_recipe_is_the_published_architecture():
    model = autoencoder.AdversarialAutoencoder(recipes.recipe("paper", n_points=128))
    widths = [
        [layer.units for layer in getattr(model, name).layers if hasattr(layer, "units")]
        for name in recipes.NETWORKS
    ]
    assert widths[0] == [64, 128, 256, 256, 512, 256, 256]  # a mean and a standard deviation
    assert widths[1:] == [[256, 512, 1024, 3 * 128], [512, 512, 128, 64, 1]]
    transforms = [model.encoder.get_layer(f"{name}_transform") for name in ("input", "feature")]
    assert [layer.transform.units for layer in transforms] == [3**2, 128**2]
    _, std = model.encoder(np.random.default_rng(0).normal(size=(2, 128, 3)))
    assert (np.asarray(std) > 0).all()


def test_transform_net_starts_as_the_identity_and_costs_nothing_there(clouds):
    net = networks.TNet()
    np.testing.assert_allclose(net(normalized(clouds)), normalized(clouds), atol=1e-6)
    assert float(sum(net.losses)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["compact", "paper"])
def test_mixed_precision_gives_nearly_the_same_codes_and_clouds(clouds, name):
    model, mixed = tiny(name), tiny(name, precision="mixed_bfloat16")
    transfer.start_from(mixed, model)
    codes = model.encode(clouds)
    # bfloat16 has 8 binary digits.
    np.testing.assert_allclose(mixed.encode(clouds), codes, atol=0.02 * np.abs(codes).max())
    decoded = model.decode(codes)
    np.testing.assert_allclose(mixed.decode(codes), decoded, atol=0.02 * np.abs(decoded).max())
    assert mixed.encode(clouds).dtype == mixed.decode(codes).dtype == np.float32
    assert all(w.dtype == np.float32 for w in mixed.get_weights())


@pytest.mark.parametrize("name", ["compact", "paper"])
def test_codes_do_not_depend_on_the_order_of_points(clouds, name):
    model = tiny(name)
    shuffled = clouds[:, np.random.default_rng(1).permutation(64)]
    np.testing.assert_allclose(model.encode(clouds), model.encode(shuffled), atol=1e-5)


def test_code_of_a_cloud_is_the_mean_code_of_its_parts(clouds):
    model = tiny(encoder_points=32)
    parts = [model.encoder(normalized(clouds)[:, k::2]) for k in range(2)]
    np.testing.assert_allclose(model.encode(clouds), np.mean(parts, axis=0), atol=1e-6)


def test_reconstructions_are_the_decoded_codes_put_back(clouds):
    model = tiny(refinement_steps=5)
    centres = clouds.mean(axis=1, keepdims=True)
    decoded = model.decode(model.encode(clouds))
    np.testing.assert_allclose(model.reconstruct(clouds), decoded + centres, atol=1e-3)


def test_samples_are_decoded_draws_of_the_prior():
    model = tiny(prior_std=0.2, code_size=64)
    codes = model.draw_prior(2000, seed=3)
    assert codes.std() == pytest.approx(0.2, rel=0.01)
    assert codes.mean() == pytest.approx(0, abs=0.002)
    np.testing.assert_array_equal(model.sample(5, seed=3), model.decode(model.draw_prior(5, 3)))


def test_standardized_codes_have_the_moments_of_the_prior(clouds):
    """In a batch of training; and of all clouds, once they are calibrated by them."""
    model = compiled(prior_std=0.2)
    in_training = np.asarray(model.encoder(normalized(clouds), training=True))
    model.calibrate([normalized(clouds)[:3], normalized(clouds)[3:]])
    for codes in (in_training, model.encode(clouds)):
        np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(codes.std(axis=0), 0.2, rtol=1e-2)


# The training step


@pytest.mark.parametrize(
    "changes", [{}, {"adversarial": "cross-entropy"}, {"precision": "mixed_bfloat16"}]
)
def test_training_learns_to_reconstruct(clouds, changes):
    model = compiled(autoencoder_rate=1e-2, generator_rate=1e-2, **changes)
    start = model.evaluate(normalized(clouds), verbose=0, return_dict=True)["chamfer"]
    model.fit(normalized(clouds), epochs=150, batch_size=6, verbose=0)
    end = model.evaluate(normalized(clouds), verbose=0, return_dict=True)["chamfer"]
    assert end < start / 4


@pytest.mark.parametrize("adversarial", ["cross-entropy", "wasserstein"])
def test_discriminator_learns_to_tell_codes_from_the_prior(clouds, adversarial):
    """Without deception or reconstruction only the discriminator moves, and it must win."""
    model = compiled(
        adversarial=adversarial,
        reconstruction_weight=0.0,
        generator_weight=0.0,
        discriminator_rate=1e-2,
        prior_std=0.01,
        standardized=False,
    )
    step(model, clouds, times=60)
    logs = model.evaluate(normalized(clouds), verbose=0, return_dict=True)
    assert logs["discriminator_accuracy"] > 0.9


def test_deception_moves_codes_towards_the_prior(clouds):
    """With nothing to reconstruct, codes far from a narrow prior must come closer to it."""
    # A critic that learns faster than the encoder moves.
    model = compiled(
        reconstruction_weight=0.0,
        generator_weight=1.0,
        prior_std=0.05,
        standardized=False,
        critic_steps=10,
        discriminator=(64,),
        discriminator_rate=5e-3,
    )
    before = np.abs(model.encode(clouds)).mean()
    step(model, clouds, times=100)
    assert np.abs(model.encode(clouds)).mean() < before / 2


# The linear shape models in the decoder

PRIOR_STD = 0.2


def ellipsoid(seed, n_points=64):
    """A linear model of two modes, width and length, of points of a sphere around the origin."""
    half = analytic.directions(np.random.default_rng(seed), n_points // 2)
    sphere = np.concatenate([half, -half])
    modes = np.stack([sphere * [0.08, 0.08, 0], sphere * [0, 0, 0.12]])
    return sphere * [0.4, 0.4, 0.7], modes


def of_model(model, weights):
    mean, modes = model
    return mean + np.tensordot(weights, modes, 1)


def test_modes_without_a_number_are_left_out_and_numbers_without_a_mode_do_nothing():
    mean, modes = ellipsoid(0)
    short, long = (tiny(linear_models=1, code_size=size, prior_std=PRIOR_STD) for size in (1, 4))
    for model in (short, long):
        transfer.start_decoder_at_models(model, [(mean, modes)], [1])
    expected = 100 * (mean + 2 * modes[0])
    np.testing.assert_allclose(short.decode([[2 * PRIOR_STD]])[0], expected, atol=1e-3)
    code = [[2 * PRIOR_STD, 0, 5, -7]]
    np.testing.assert_allclose(long.decode(code)[0], expected, atol=1e-3)


def test_the_first_number_chooses_the_kind_and_the_others_are_its_weights():
    model = tiny(linear_models=3, code_size=3, prior_std=PRIOR_STD)
    starts = [ellipsoid(seed) for seed in range(3)]
    transfer.start_decoder_at_models(model, starts, [0.2, 0.3, 0.5])
    codes = model.draw_prior(300)
    first, weights = codes[:, 0] / PRIOR_STD, codes[:, 1:] / PRIOR_STD
    thresholds = norm.ppf([0.2, 0.5])
    kinds = np.searchsorted(thresholds, first)
    # At that distance from a threshold the other gate is open by less than exp(-20 x 0.35).
    clear = np.abs(first[:, None] - thresholds).min(axis=1) > 0.35
    assert set(kinds[clear]) == {0, 1, 2}
    decoded = model.decode(codes)
    for i in np.flatnonzero(clear):
        expected = 100 * of_model(starts[kinds[i]], weights[i])
        np.testing.assert_allclose(decoded[i], expected, atol=0.2)
    # At a threshold they are mixed half and half.
    for k, threshold in enumerate(thresholds):
        decoded = model.decode([[PRIOR_STD * threshold, 0, 0]])[0]
        expected = 100 * (starts[k][0] + starts[k + 1][0]) / 2
        np.testing.assert_allclose(decoded, expected, atol=1e-2)


def alike(clouds, cloud):
    """Correlation over draws (n, n_points, 3) of how neighbours in a cloud move."""
    moves = clouds - clouds.mean(axis=0)
    nearest = cKDTree(cloud).query(cloud, k=2)[1][:, 1]
    return np.sum(moves * moves[:, nearest]) / np.sum(moves**2)


def test_a_decoder_moved_to_a_cloud_moves_neighbours_alike_as_before():
    """Which it would not with the cloud in the order that it has."""
    model, cloud = tiny(linear_models=1, code_size=2), 1.3 * ellipsoid(9)[0].astype(np.float32)
    transfer.start_decoder_at_models(model, [ellipsoid(0)], [1])
    codes = model.draw_prior(256)
    before = model.decode(codes) / 100
    transfer.start_decoder_at(model, cloud, learnt=True)
    after = model.decode(codes) / 100
    means = np.stack([before.mean(axis=0), after.mean(axis=0)])
    distances = losses.chamfer_loss(means, np.stack([cloud, cloud])).numpy()
    assert distances[1] < 1e-9 < 1e-2 < distances[0]
    assert alike(before, means[0]) > 0.8
    assert alike(after, means[1]) > 0.8
    assert alike(after, cloud) < 0.3


# Refined codes

LATTICE = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 4)] * 3), axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("noise", [0.0, 2e-5, 1e-4])
def test_a_refined_code_is_the_solution_of_ridge_regression(noise):
    """Where points correspond and move linearly; a number that moves none stays as it was."""
    rng = np.random.default_rng(0)
    modes, (start, code) = rng.normal(0, 0.01, (4, 64, 3)), rng.normal(0, PRIOR_STD, (2, 4))
    modes[3] = 0
    modes = np.float32(modes / PRIOR_STD)
    normal = analytic.directions(rng, 64)
    cloud = LATTICE + np.tensordot(code, modes, 1) + rng.normal(0, 0.01, (64, 3))
    refined = refinement.refine(
        lambda codes: np.float32(LATTICE) + tf.tensordot(codes, modes, 1),
        PRIOR_STD,
        10,
        *(tf.constant(each[None], tf.float32) for each in (cloud, normal, start)),
        tf.constant(noise),
    )
    moved = modes[:3].reshape(3, -1).T
    along = np.einsum("kpx,px->pk", modes[:3], normal)
    off = cloud - LATTICE
    # Each of two ways is a mean over points.
    rows = np.sqrt(2 / 64) * np.concatenate([along, np.sqrt(0.05) * moved])
    aims = np.sqrt(2 / 64) * np.append(np.sum(off * normal, axis=1), np.sqrt(0.05) * off.ravel())
    rows = np.concatenate([rows, np.sqrt(noise) / PRIOR_STD * np.eye(3)])
    expected = np.linalg.lstsq(rows, np.append(aims, np.zeros(3)))[0]
    np.testing.assert_allclose(refined[0], np.append(expected, start[3]), atol=2e-3 * PRIOR_STD)


def test_with_the_estimated_noise_codes_are_spread_as_the_prior():
    """Clouds of a linear decoder and noise, of which codes have about a tenth of their spread."""
    rng = np.random.default_rng(0)
    model = tiny(linear_models=1, prior_std=PRIOR_STD, refinement_steps=5)
    modes = rng.normal(0, 0.004, (4, 64, 3))
    transfer.start_decoder_at_models(model, [(LATTICE, modes)], [1])
    weights = rng.normal(size=(100, 4))
    weights /= np.sqrt(np.mean(weights**2))
    clean = LATTICE + np.tensordot(weights, modes, 1)
    found = []
    for spread in (0.005, 0.01):
        clouds = np.float32(clean + rng.normal(0, spread, clean.shape))
        training.estimate_noise(model, clouds)
        found.append(model.noise)
        assert np.mean(model.codes(clouds) ** 2) == pytest.approx(PRIOR_STD**2, rel=0.03)
    assert 0 < found[0] < found[1]


@pytest.fixture(scope="module")
def ellipsoids():
    """A decoder that is a linear model of ellipsoids, of 256 points, 100 mm a unit."""
    model = tiny(
        n_points=256, code_size=2, linear_models=1, prior_std=PRIOR_STD, refinement_steps=12
    )
    transfer.start_decoder_at_models(model, [ellipsoid(0, 256)], [1])
    return model


def refined(model, clouds, codes, n_steps=12):
    """Codes refined from a start in mm, as `encode` refines those of the encoder."""
    points = normalized(np.asarray(clouds, np.float32))
    rest = (tf.constant(each, tf.float32) for each in (points, normals(points), codes))
    return refinement.refine(
        model.decoder, PRIOR_STD, n_steps, *rest, tf.constant(model.noise)
    ).numpy()


@pytest.mark.parametrize(("sampling", "median"), [(0, 0.05), (1, 0.2)])
def test_codes_of_clouds_of_the_decoder_are_found_again(ellipsoids, sampling, median):
    """Whether the points are those that it decodes or others of the same surfaces."""
    weights = np.random.default_rng(3).uniform(-1.5, 1.5, (6, 2)).astype(np.float32)
    clouds = np.float32([100 * of_model(ellipsoid(sampling, 256), w) for w in weights])
    start = ellipsoids.draw_prior(6, seed=5)
    points = tf.constant(normalized(clouds))
    around = tf.constant(normals(normalized(clouds)), tf.float32)
    found = [refined(ellipsoids, clouds, start, n) for n in (0, 1, 2, 4, 12)]
    # Nearest points are not always those that correspond: some codes stop a little before.
    off = np.abs(found[-1] / PRIOR_STD - weights)
    assert np.median(off) < median
    assert off.max() < 0.4
    # More steps never are worse.
    energies = [
        losses.plane_distance(points, around, ellipsoids.decoder(codes)).numpy() for codes in found
    ]
    assert np.diff(energies, axis=0).max() < 1e-7


def test_encoding_refines_each_code_by_itself(ellipsoids):
    clouds = ellipsoids.sample(20, seed=8)
    codes = ellipsoids.encode(clouds)
    start = ellipsoids.encode(clouds[-1:], refinement_steps=0)
    np.testing.assert_allclose(codes[-1:], refined(ellipsoids, clouds[-1:], start), atol=1e-4)


def test_refined_codes_are_finite_whatever_the_cloud(ellipsoids):
    rng = np.random.default_rng(0)
    spread = 100 * rng.normal(size=(256, 3))
    two_places = np.repeat([[0, 0, -50], [0, 0, 50]], 128, axis=0)
    odd = [ellipsoids.sample(1)[0], spread * [1, 1, 0], spread * [0, 0, 1], two_places]
    odd = np.stack([*odd, 1e6 * spread, spread])
    start = np.concatenate([ellipsoids.draw_prior(1), 50 * rng.normal(size=(5, 2))])
    for clouds in (odd, odd[:, :3]):
        assert np.isfinite(refined(ellipsoids, clouds, start)).all()


# Saving


@pytest.mark.parametrize(
    ("name", "changes"),
    [("compact", {"refinement_steps": 4}), ("paper", {"frozen": {"encoder": "point_2"}})],
)
def test_a_saved_model_reconstructs_and_trains_on_as_before(clouds, name, changes, tmp_path):
    model = compiled(name, **changes)
    step(model, clouds, times=3)
    model.noise = 1e-4
    model.save(tmp_path / "model.keras")
    loaded = files.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.reconstruct(clouds), model.reconstruct(clouds))
    assert loaded.get_config() == model.get_config()
    # Fresh moments in any optimizer would show in the next steps.
    step(model, clouds, times=2)
    step(loaded, clouds, times=2)
    np.testing.assert_array_equal(weights(loaded), weights(model))


# Bad input


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: tiny().encode(np.zeros((64, 3))), r"\(64, 3\)"),
        (lambda: tiny().decode(np.zeros((2, 5))), r"\(2, 5\)"),
        (lambda: tiny().sample(0), "no shapes"),
        (lambda: tiny(frozen={"encoder": "point_9"}), "no layer 'point_9'; it has .*point_1"),
        (lambda: tiny(frozen={"decoder": 9}), "decoder has 3 layers with weights, not 9"),
        (lambda: start_at(1, linear_models=2), "1 shape models .* linear_models = 2"),
        (lambda: start_at(1, linear_models=1, normalization="unit-sphere"), "is 'unit-sphere'"),
        # Weights that mean something else.
        (lambda: take("decoder", prior_std=1.0), "prior_std"),
        (lambda: take("encoder", normalization="unit-sphere"), "normalization"),
        (lambda: take("discriminator", adversarial="cross-entropy"), "adversarial"),
    ],
)
def test_what_a_model_cannot_do_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def start_at(count, **changes):
    transfer.start_decoder_at_models(tiny(**changes), [ellipsoid(0)] * count, [1.0] * count)


def take(network, **changes):
    transfer.start_from(tiny(), tiny(**changes), [network])


# Weights to take away


def test_exported_weights_reconstruct_almost_as_the_model_in_half_precision(clouds, tmp_path):
    model = tiny()
    transfer.start_decoder_at(model, normalized(clouds)[0], learnt=False)
    model.noise = 1e-4
    exported.export_weights(model, tmp_path / "model.npz")
    loaded = files.load(tmp_path / "model.npz")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_allclose(loaded.decode(np.zeros((1, 4))), model.decode(np.zeros((1, 4))))
    np.testing.assert_allclose(loaded.reconstruct(clouds), model.reconstruct(clouds), atol=1.0)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        kernel = file["decoder_0"]
    assert kernel.dtype == np.float16
    np.testing.assert_allclose(kernel, model.decoder.get_weights()[0], rtol=1e-3, atol=1e-6)


def test_a_shipped_model_is_loaded_by_name_if_it_is_the_published_file(tmp_path, monkeypatch):
    monkeypatch.setattr(exported, "WEIGHTS", tmp_path)
    exported.export_weights(tiny(), tmp_path / "sockets.npz")
    (tmp_path / "registry.txt").write_text("")
    with pytest.raises(ValueError, match="sha256"):
        files.load("sockets")
    digest = hashlib.sha256((tmp_path / "sockets.npz").read_bytes()).hexdigest()
    (tmp_path / "registry.txt").write_text(f"sockets.npz {digest}\n")
    assert files.load("sockets").recipe == tiny().recipe
    with pytest.raises(FileNotFoundError, match="pretrained"):
        files.load("pretrained")


# Frozen layers, generators, validation in batches


def test_frozen_layers_stay_whatever_is_measured_or_learnt_and_later_ones_learn(clouds):
    """Moments by which codes are standardized, too: neither training nor calibration moves them."""
    model = compiled(frozen={"encoder": "codes", "decoder": "hidden_1"})
    codes, decoder = model.encode(clouds), model.decoder.get_weights()
    others = 3 * clouds[:, ::-1] ** 2 / 100
    step(model, others, times=3)
    model.calibrate([normalized(others)])
    np.testing.assert_array_equal(model.encode(clouds), codes)
    same = [*map(np.array_equal, decoder, model.decoder.get_weights())]
    assert all(same[:2])
    assert not any(same[2:])


def test_layers_to_freeze_are_named_or_counted():
    counted = tiny(frozen={"encoder": 2, "decoder": 1, "discriminator": 0})
    assert counted.frozen == {"encoder": "point_2", "decoder": "hidden_1"}
    whole = len([layer for layer in tiny().encoder.layers if layer.weights])
    assert not tiny(frozen={"encoder": whole}).encoder.trainable_variables


def test_a_model_is_read_without_a_change_of_the_generators(saved):
    for name in ("model.npz", "model.keras"):
        random.seed(5), np.random.seed(5)  # noqa: NPY002
        before = random.getstate(), str(np.random.get_state())  # noqa: NPY002
        tf.random.set_seed(5)
        expected = [*tf.random.normal([2]).numpy(), *tf.random.normal([2]).numpy()]
        tf.random.set_seed(5)
        drawn = [*tf.random.normal([2]).numpy()]
        files.load(saved / name)
        assert (random.getstate(), str(np.random.get_state())) == before  # noqa: NPY002
        assert [*drawn, *tf.random.normal([2]).numpy()] == expected


def test_codes_that_are_not_finite_are_refused(saved):
    model = files.load(saved / "model.npz")
    codes = model.draw_prior(2)
    codes[1, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        model.decode(codes)


def test_validation_in_batches_is_that_of_all_shapes_at_once(clouds):
    model = compiled("compact", discriminator_rate=0.0)
    five = normalized(clouds)[:5]
    once, batches = (
        model.evaluate(five, batch_size=size, verbose=0, return_dict=True) for size in (5, 4)
    )
    for name in ("chamfer", "generator_loss", "code_spread"):
        assert batches[name] == pytest.approx(once[name], rel=1e-4), name
    spread = model.codes(five).std(axis=0).mean() / model.recipe.prior_std
    assert batches["code_spread"] == pytest.approx(spread, rel=1e-4)


@pytest.mark.parametrize(
    ("losses", "network"),
    [
        (("autoencoder",), "decoder"),
        (("discriminator",), "discriminator"),
        (("autoencoder", "generator"), "encoder"),
    ],
)
def test_a_constant_rate_of_zero_leaves_a_network_as_it_is(clouds, losses, network):
    model = compiled("compact", decay="constant", **{f"{loss}_rate": 0 for loss in losses})
    weights = getattr(model, network).trainable_variables
    before = [weight.numpy() for weight in weights]
    model.fit(normalized(clouds)[:4], batch_size=2, verbose=0)
    np.testing.assert_equal([weight.numpy() for weight in weights], before)


def test_clouds_far_away_are_those_near_by(clouds):
    """In metres on a surveyor's grid, where float32 has steps of 0.5."""
    model, near = tiny(), clouds / np.float64(1000)
    model.scale = 0.1
    far = near + np.array([5e5, 4.5e6, 100])
    np.testing.assert_allclose(model.encode(far), model.encode(near), atol=1e-5)
    sizes = [np.ptp(model.reconstruct(each), axis=1) for each in (far, near)]
    np.testing.assert_allclose(*sizes, atol=1e-7)
