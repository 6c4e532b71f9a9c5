"""The networks, the training step, saving and transfer."""

import keras
import numpy as np
import pytest

from aaelib import models

TINY = {
    "n_points": 64,
    "code_size": 4,
    "encoder": (16, 16),
    "decoder": (16,),
    "discriminator": (8,),
    "encoder_points": None,
}


def tiny(name="compact", seed=0, scale=100.0, **changes):
    return models.AdversarialAutoencoder(models.recipe(name, **{**TINY, **changes}), scale, seed)


@pytest.fixture
def clouds():
    """Ellipsoids of various lengths, about 100 mm across, away from the origin."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(6, 64, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    axes = rng.uniform(30, 100, size=(6, 1, 3))
    return (directions * axes + [5.0, -3.0, 40.0]).astype(np.float32)


def normalized(clouds):
    return (clouds - clouds.mean(axis=1, keepdims=True)) / 100


def step(model, clouds, times=1):
    for _ in range(times):
        model.train_step(keras.ops.convert_to_tensor(normalized(clouds)))


def weights(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


# The networks


def test_paper_recipe_is_the_published_architecture():
    model = models.AdversarialAutoencoder(models.recipe("paper", n_points=128))
    encoder = {layer.name: layer for layer in model.encoder.layers}
    assert [encoder[f"point_{i}"].units for i in range(1, 6)] == [64, 128, 256, 256, 512]
    assert encoder["input_transform"].transform.units == 3**2
    assert encoder["feature_transform"].transform.units == 128**2
    assert [o.shape[-1] for o in model.encoder.outputs] == [256, 256]
    widths = [layer.units for layer in model.decoder.layers if hasattr(layer, "units")]
    assert widths == [256, 512, 1024, 3 * 128]
    widths = [layer.units for layer in model.discriminator.layers if hasattr(layer, "units")]
    assert widths == [512, 512, 128, 64, 1]


def test_paper_recipe_predicts_a_positive_standard_deviation(clouds):
    _, std = tiny("paper").encoder(normalized(clouds))
    assert (np.asarray(std) > 0).all()


def test_transform_net_starts_as_the_identity_and_costs_nothing_there(clouds):
    net = models.TNet()
    np.testing.assert_allclose(net(normalized(clouds)), normalized(clouds), atol=1e-6)
    assert float(sum(net.losses)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["compact", "paper"])
def test_mixed_precision_gives_nearly_the_same_codes_and_clouds(clouds, name):
    model, mixed = tiny(name), tiny(name, precision="mixed_bfloat16")
    mixed.start_from(model)
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


def test_reconstruction_follows_a_moved_cloud(clouds):
    model = tiny()
    step = np.float32([10, -20, 30])
    np.testing.assert_allclose(
        model.reconstruct(clouds + step), model.reconstruct(clouds) + step, atol=1e-3
    )


def test_unit_sphere_reconstruction_follows_the_size(clouds):
    model = tiny("paper")
    np.testing.assert_allclose(
        model.reconstruct(3 * clouds), 3 * model.reconstruct(clouds), rtol=1e-4, atol=1e-2
    )


def test_samples_are_decoded_draws_of_the_prior():
    model = tiny(prior_std=0.2, code_size=64)
    codes = model.draw_prior(2000, seed=3)
    assert codes.std() == pytest.approx(0.2, rel=0.01)
    assert codes.mean() == pytest.approx(0, abs=0.002)
    np.testing.assert_array_equal(model.sample(5, seed=3), model.decode(model.draw_prior(5, 3)))
    assert not np.array_equal(model.sample(5, seed=3), model.sample(5, seed=4))


def test_decoder_starts_at_the_given_cloud(clouds):
    model = tiny()
    model.start_decoder_at(normalized(clouds)[0])
    decoded = model.decode(np.zeros((1, 4)))
    np.testing.assert_allclose(decoded[0], 100 * normalized(clouds)[0], atol=1e-4)


def test_standardized_codes_have_the_moments_of_the_prior_in_a_batch(clouds):
    codes = np.asarray(tiny(prior_std=0.2).encoder(normalized(clouds), training=True))
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(codes.std(axis=0), 0.2, rtol=1e-2)


def test_calibrated_codes_of_the_clouds_have_the_moments_of_the_prior(clouds):
    model = tiny(prior_std=0.2)
    model.compile()
    model.calibrate([normalized(clouds)[:3], normalized(clouds)[3:]])
    codes = model.encode(clouds)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(codes.std(axis=0), 0.2, rtol=1e-2)


# The training step


@pytest.mark.parametrize("name", ["compact", "paper"])
def test_a_step_moves_all_three_networks_and_optimizers(clouds, name):
    model = tiny(name)
    model.compile()
    before = {n: getattr(model, n).get_weights() for n in models.NETWORKS}
    step(model, clouds)
    for network in models.NETWORKS:
        changed = [
            not np.array_equal(a, b)
            for a, b in zip(before[network], getattr(model, network).get_weights(), strict=True)
        ]
        assert any(changed), network
    assert int(model.autoencoder_optimizer.iterations) == 1
    assert int(model.generator_optimizer.iterations) == 1
    assert int(model.discriminator_optimizer.iterations) == model.recipe.critic_steps


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shared_pass": False},
        {"adversarial": "cross-entropy"},
        {"precision": "mixed_bfloat16"},
    ],
)
def test_training_learns_to_reconstruct(clouds, changes):
    model = tiny(autoencoder_rate=1e-2, generator_rate=1e-2, **changes)
    model.compile()
    start = model.evaluate(normalized(clouds), verbose=0, return_dict=True)["chamfer"]
    model.fit(normalized(clouds), epochs=150, batch_size=6, verbose=0)
    end = model.evaluate(normalized(clouds), verbose=0, return_dict=True)["chamfer"]
    assert end < start / 4


@pytest.mark.parametrize("adversarial", ["cross-entropy", "wasserstein"])
def test_discriminator_learns_to_tell_codes_from_the_prior(clouds, adversarial):
    """Without deception or reconstruction only the discriminator moves, and it must win."""
    model = tiny(
        adversarial=adversarial,
        reconstruction_weight=0.0,
        generator_weight=0.0,
        discriminator_rate=1e-2,
        prior_std=0.01,
        standardized=False,
    )
    model.compile()
    step(model, clouds, times=60)
    logs = model.evaluate(normalized(clouds), verbose=0, return_dict=True)
    assert logs["discriminator_accuracy"] > 0.9


def test_deception_moves_codes_towards_the_prior(clouds):
    """With nothing to reconstruct, codes far from a narrow prior must come closer to it."""
    # A critic that learns faster than the encoder moves.
    model = tiny(
        reconstruction_weight=0.0,
        generator_weight=1.0,
        prior_std=0.05,
        standardized=False,
        critic_steps=10,
        discriminator=(64,),
        discriminator_rate=5e-3,
    )
    model.compile()
    before = np.abs(model.encode(clouds)).mean()
    step(model, clouds, times=100)
    assert np.abs(model.encode(clouds)).mean() < before / 2


@pytest.mark.parametrize("name", ["compact", "paper"])
def test_same_seed_trains_to_the_same_weights(clouds, name):
    results = []
    for _ in range(2):
        model = tiny(name)
        model.compile()
        step(model, clouds, times=3)
        results.append(weights(model))
    np.testing.assert_array_equal(*results)


# Saving


@pytest.mark.parametrize("name", ["compact", "paper"])
def test_a_loaded_model_reconstructs_and_trains_on_as_the_saved_one(clouds, name, tmp_path):
    model = tiny(name)
    model.compile()
    step(model, clouds, times=3)
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.reconstruct(clouds), model.reconstruct(clouds))
    assert (loaded.scale, loaded.recipe) == (model.scale, model.recipe)
    for which in ("autoencoder", "discriminator", "generator"):
        mine = getattr(model, f"{which}_optimizer").variables
        theirs = getattr(loaded, f"{which}_optimizer").variables
        assert len(mine) == len(theirs) > 2
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    # Fresh moments in any optimizer would show in the next steps.
    step(model, clouds, times=2)
    step(loaded, clouds, times=2)
    np.testing.assert_array_equal(weights(loaded), weights(model))


def test_fit_continues_after_loading(clouds, tmp_path):
    model = tiny()
    model.compile()
    options = {"batch_size": 6, "shuffle": False, "verbose": 0}
    model.fit(normalized(clouds), epochs=2, **options)
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras")
    model.fit(normalized(clouds), epochs=2, **options)
    loaded.fit(normalized(clouds), epochs=2, **options)
    np.testing.assert_array_equal(weights(loaded), weights(model))


def test_loading_refuses_what_is_not_there_and_what_is_another_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.keras"):
        models.load(tmp_path / "nothing.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match=r"other\.keras"):
        models.load(tmp_path / "other.keras")


# Transfer


def test_frozen_layers_do_not_learn_and_later_ones_do(clouds):
    model = tiny()
    model.freeze(encoder="point_1", decoder="hidden_1")
    model.compile()
    before = {n: getattr(model, n).get_weights() for n in models.NETWORKS}
    step(model, clouds, times=2)
    for network in ("encoder", "decoder"):
        after = getattr(model, network).get_weights()
        same = [np.array_equal(a, b) for a, b in zip(before[network], after, strict=True)]
        assert same[:2] == [True, True], network
        assert not any(same[2:]), network


def test_a_frozen_model_comes_back_frozen(clouds, tmp_path):
    model = tiny()
    model.freeze(encoder="point_2")
    model.compile()
    step(model, clouds)
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras")
    assert loaded.frozen == {"encoder": "point_2"}
    step(model, clouds)
    step(loaded, clouds)
    np.testing.assert_array_equal(weights(loaded), weights(model))


def test_freezing_names_the_layers_that_there_are():
    with pytest.raises(ValueError, match="point_1"):
        tiny().freeze(encoder="point_9")
    with pytest.raises(ValueError, match="discriminator"):
        tiny().freeze(critic="hidden_1")


def test_a_compiled_model_is_not_frozen_any_more():
    model = tiny()
    model.compile()
    with pytest.raises(ValueError, match="freeze layers before"):
        model.freeze(encoder="point_1")


def test_transfer_takes_only_the_named_networks(clouds):
    source, target = tiny(seed=1), tiny(seed=2)
    own_decoder = target.decoder.get_weights()
    target.start_from(source, networks=("encoder",))
    np.testing.assert_array_equal(target.encode(clouds), source.encode(clouds))
    for a, b in zip(target.decoder.get_weights(), own_decoder, strict=True):
        np.testing.assert_array_equal(a, b)


def test_transfer_between_other_shapes_is_refused():
    with pytest.raises(ValueError, match="encoder"):
        tiny().start_from(tiny(code_size=8))


# Bad input


def test_recipes_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match="compact"):
        models.recipe("large")
    with pytest.raises(ValueError, match="code_length"):
        models.recipe("compact", code_length=3)
    with pytest.raises(ValueError, match="reduction"):
        models.recipe("compact", reduction="median")
    with pytest.raises(ValueError, match="code_size"):
        models.recipe("compact", code_size=0)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(64, 3\)"):
        tiny().encode(np.zeros((64, 3)))
    with pytest.raises(ValueError, match=r"\(2, 5\)"):
        tiny().decode(np.zeros((2, 5)))


def test_no_shapes_are_an_error():
    with pytest.raises(ValueError, match="no shapes"):
        tiny().sample(0)


def test_fit_takes_targets_as_other_autoencoders_do(clouds):
    model = tiny()
    model.compile()
    model.fit(normalized(clouds), normalized(clouds), batch_size=6, verbose=0)
    assert int(model.autoencoder_optimizer.iterations) == 1
