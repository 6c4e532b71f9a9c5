"""The slider from one socket to another."""

import re

import numpy as np
import pytest
from analytic import socket

from aaelib import explorer, models
from aaelib.sockets import SocketSurface


@pytest.fixture(scope="module")
def aae():
    """A model whose decoder starts at a socket and has learnt nothing yet."""
    recipe = models.recipe(
        "compact",
        n_points=256,
        code_size=4,
        encoder=(8,),
        decoder=(8,),
        discriminator=(8,),
        encoder_points=None,
    )
    model = models.AdversarialAutoencoder(recipe, scale=150.0, seed=0)
    cloud = socket().sample(256)
    model.start_decoder_at((cloud - cloud.mean(axis=0)) / 150)
    return model


@pytest.fixture(scope="module")
def codes():
    """Far enough apart to see, near enough to zero to be sockets."""
    return np.random.default_rng(0).normal(0, 0.02, (2, 4)).astype(np.float32)


@pytest.fixture
def parts(aae, codes):
    """Slider, sizes and socket."""
    return explorer.morph(aae, *codes, labels=("short", "long"), steps=5).children


def decoded(aae, code):
    return SocketSurface.from_points(aae.decode(code[None])[0], smoothing=0.1)


def shown(figure):
    mesh = figure.data[0]
    return np.stack([mesh.x, mesh.y, mesh.z], axis=1)


def centred(vertices):
    return vertices - (vertices.min(axis=0) + vertices.max(axis=0)) / 2


def test_the_slider_runs_from_one_to_the_other(parts):
    slider = parts[0]
    assert (slider.min, slider.max, slider.value) == (0, 4, 0)
    assert slider.description == "short → long"


def test_moving_the_slider_shows_the_socket_of_that_code(aae, codes, parts):
    slider, _, figure = parts
    for index in (0, 4, 2):
        slider.value = index
        code = codes[0] + (codes[1] - codes[0]) * index / 4
        expected = centred(decoded(aae, code).mesh().vertices)
        np.testing.assert_allclose(shown(figure), expected, atol=0.05)
    slider.value = 0
    start = shown(figure)
    slider.value = 4
    assert np.abs(shown(figure) - start).max() > 0.5


def test_triangles_stay_those_of_the_surface(aae, codes, parts):
    slider, _, figure = parts
    slider.value = 3
    mesh = figure.data[0]
    faces = np.stack([mesh.i, mesh.j, mesh.k], axis=1)
    np.testing.assert_array_equal(faces, decoded(aae, codes[0]).mesh().faces)


def test_sizes_are_those_of_the_socket_shown(aae, codes, parts):
    slider, sizes, _ = parts
    for index, code in ((4, codes[1]), (0, codes[0])):
        slider.value = index
        size = decoded(aae, code).measure()
        share, length, volume = map(float, re.findall(r"[\d.]+", sizes.value))
        assert share == 25 * index
        assert length == pytest.approx(size["length_mm"], abs=0.6)
        assert volume == pytest.approx(size["volume_mm3"] / 1e6, abs=0.006)


class Stretching:
    """Stands in for a model: a code is how many times longer than another its socket is."""

    recipe = models.recipe("compact")
    cloud = socket(150).sample(256)

    def decode(self, codes):
        return np.stack([self.cloud * [1, 1, code[0]] for code in codes])


@pytest.mark.parametrize("ends", [(1, 2), (2, 1)])
def test_the_scene_holds_the_longer_of_the_two(ends):
    slider, sizes, figure = explorer.morph(Stretching(), *np.float32(ends)[:, None]).children
    low, high = figure.layout.scene.zaxis.range
    for index, end in zip((0, slider.max), ends, strict=True):
        slider.value = index
        heights = shown(figure)[:, 2]
        assert np.ptp(heights) == pytest.approx(150 * end, rel=0.05)
        assert f"{np.ptp(heights):.0f} mm long" in sizes.value
        assert low - 0.1 <= heights.min()
        assert heights.max() <= high + 0.1


def test_a_slider_needs_two_positions(aae, codes):
    with pytest.raises(ValueError, match="steps is 1"):
        explorer.morph(aae, *codes, steps=1)
