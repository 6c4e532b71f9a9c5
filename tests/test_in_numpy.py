"""Models in NumPy against the same models in Keras."""

import numpy as np
import pytest
from conftest import TINY

from aaelib.models import autoencoder, exported, files, in_numpy, recipes
from aaelib.shapes import sources

OTHER = {"n_points": 96, "encoder": (16, 24, 32), "decoder": (16,), "discriminator": (8,)}


def learnt(entries, seed=0):
    """A model whose weights are all other than at the start."""
    aae = autoencoder.AdversarialAutoencoder(recipes.recipe("compact", **entries), scale=120.0)
    aae.noise = 1e-4
    generator = np.random.default_rng(seed)
    for network in (aae.encoder, aae.decoder):
        weights = network.get_weights()
        network.set_weights([w + 0.2 * np.abs(generator.normal(size=w.shape)) for w in weights])
    return aae


@pytest.mark.parametrize(
    "entries",
    [
        TINY,
        OTHER | {"tnets": True, "refinement_steps": 0},
        OTHER | {"stochastic": True, "standardized": True, "linear_models": 2},
        OTHER | {"encoder_points": 32, "normalization": "unit-sphere", "standardized": False},
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".keras"])
def test_codes_and_clouds_are_those_of_keras(entries, suffix, tmp_path):
    aae, file = learnt(entries), tmp_path / f"model{suffix}"
    exported.export_weights(aae, file) if suffix == ".npz" else aae.save(file)
    aae, found = files.load(file), in_numpy.load(file)
    clouds = np.random.default_rng(1).normal(size=(3, 100, 3)) * [40, 60, 100]
    codes = aae.encode(clouds, 0)  # steps to a shape unlike any that is known can go elsewhere
    np.testing.assert_allclose(found.encode(clouds, 0), codes, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.decode(codes), aae.decode(codes), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(found.draw_prior(5, 3), aae.draw_prior(5, 3))


def test_sockets_are_refined_as_by_keras():
    """Within 0.02 mm; mostly much nearer."""
    points = sources.load_sockets(source="bundled")[:6].points
    aae, found = files.load("sockets"), in_numpy.load("sockets")
    apart = np.linalg.norm(found.reconstruct(points) - aae.reconstruct(points), axis=-1)
    assert apart.max() < 0.02
    assert np.median(apart) < 0.002


def test_weights_of_another_recipe_are_refused(tmp_path):
    aae, other = learnt(TINY), recipes.recipe("compact", **TINY | {"n_points": 50})
    exported.export_weights(aae, tmp_path / "model.npz")
    _, weights = exported.read(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="do not decode to 50 points"):
        in_numpy.NumpyAutoencoder(other, 1, 0, weights)
    with pytest.raises(ValueError, match="not those of the recipe"):
        in_numpy.NumpyAutoencoder(aae.recipe, 1, 0, weights | {"decoder": weights["decoder"][:-1]})
    (tmp_path / "letter.npz").write_text("Dear prosthetist,")
    with pytest.raises(ValueError, match=r"letter\.npz holds no"):
        in_numpy.load(tmp_path / "letter.npz")


def test_a_part_of_the_points_is_that_part_of_the_cloud():
    found, kept = in_numpy.load("sockets"), np.array([5, 0, 700, 2047])
    codes = found.draw_prior(3)
    np.testing.assert_allclose(
        found.of_points(kept).decode(codes), found.decode(codes)[:, kept], atol=1e-3
    )
