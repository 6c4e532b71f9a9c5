"""Facts of the statistical shape model, on surfaces whose modes of variation are known."""

import numpy as np
import pytest
import trimesh
from analytic import family, socket, sockets
from scipy.interpolate import make_interp_spline
from scipy.stats import kstest, truncnorm

from aaelib.shapes import shape_model
from aaelib.shapes.shape_model import ShapeModel
from aaelib.shapes.sockets import SocketSurface


@pytest.fixture(scope="module")
def model():
    return ShapeModel.fit(sockets(10))


def moved(surface, step):
    return SocketSurface(surface.vertices + step)


# Fitting


def test_the_model_of_two_surfaces_is_known():
    short, long = socket(180), socket(220)
    model = ShapeModel.fit([short, long])
    a, b = (s.vertices - s.vertices.mean(axis=(0, 1)) for s in (short, long))
    np.testing.assert_allclose(model.mean_, (a + b) / 2, atol=1e-9)
    # Each is half their difference from the mean; with n - 1 = 1, the variance is twice the square.
    mode = (b - a) / np.sqrt(2)
    np.testing.assert_allclose(
        model.modes_[0] * np.sign(model.modes_[0, 0, -1, 2]), mode, atol=1e-9
    )
    np.testing.assert_allclose(model.variance_fractions_, [1])
    assert model.n_surfaces_ == 2


def test_two_modes_hold_a_family_of_two_modes():
    surfaces = family()
    model = ShapeModel.fit(surfaces, n_modes=2)
    assert model.compactness()[-1] == pytest.approx(1)
    for surface in [*surfaces, *family(3, seed=7)]:
        for found in (model.reconstruct(surface), model.surface(model.weights(surface))):
            off = found.vertices - surface.vertices
            np.testing.assert_allclose(off, np.broadcast_to(off[0, 0], off.shape), atol=1e-6)


# Weights and reconstructions


def test_weights_of_a_surface_of_the_model_are_its_own_wherever_it_is(model):
    weights = np.array([1.5, -2.0, 0.5, 0.25])
    surface = moved(model.surface(weights), [10, -200, 3000])
    np.testing.assert_allclose(model.weights(surface, n_modes=4), weights, atol=1e-6)
    np.testing.assert_allclose(model.reconstruct(surface, 4).vertices, surface.vertices, atol=1e-6)


def test_a_reconstruction_is_nearer_to_the_surface_than_the_projection_of_its_vertices():
    # Where the vertices sit on the wall differs from socket to socket, as in fitted ones.
    def fine_sockets(n, seed):
        rng = np.random.default_rng(seed)
        for _ in range(n):
            length, wave, tilt = rng.uniform(150, 250), *rng.normal(0, 8, 2)
            fine = socket(length, 50, wave, tilt, n_heights=200).vertices
            shares = np.linspace(0, 1, 16)
            levels = shares + rng.normal(0, 0.1) * np.sin(np.pi * shares)
            yield SocketSurface(make_interp_spline(np.linspace(0, 1, 200), fine, 1, axis=1)(levels))

    model = ShapeModel.fit(list(fine_sockets(12, seed=1)), n_modes=3)
    off = []
    for left_out in fine_sockets(6, seed=2):
        centre = left_out.vertices.mean(axis=(0, 1))
        projection = moved(model.surface(model.weights(left_out)), centre)
        for found in (model.reconstruct(left_out), projection):
            on_surface = trimesh.proximity.closest_point(found.mesh(), left_out.mesh().vertices)
            off.append([on_surface[1].mean(), shape_model.vertex_distance(left_out, found)])
    (surface_mm, vertices_mm), (projected_mm, least_mm) = np.reshape(off, (6, 2, 2)).mean(axis=0)
    assert surface_mm < 0.9 * projected_mm
    assert vertices_mm > least_mm


def test_fits_of_too_few_surfaces_and_modes_that_are_not_there_are_refused(model):
    with pytest.raises(ValueError, match="got 1"):
        ShapeModel.fit(sockets(1))
    for n_modes in (0, 10):
        for call in (
            lambda n: ShapeModel.fit(sockets(10), n),
            lambda n: model.weights(socket(), n),
        ):
            with pytest.raises(ValueError, match=f"n_modes is {n_modes}; there are 9"):
                call(n_modes)
    for weights in (np.zeros((2, 2)), np.zeros(99)):
        with pytest.raises(ValueError, match=r"weights have shape .*; there are 9 modes"):
            model.surface(weights)


# Drawing


def test_drawn_weights_are_truncated_normal(model):
    weights = model.draw_weights(2000, seed=1)
    assert weights.shape == (2000, 9)
    assert np.abs(weights).max() <= 2.5
    expected = truncnorm(-2.5, 2.5)
    assert weights.std() == pytest.approx(expected.std(), rel=0.02)
    assert kstest(weights.ravel(), expected.cdf).pvalue > 0.001
    # One mode's weight tells nothing about another's.
    assert np.abs(np.corrcoef(weights.T) - np.eye(9)).max() < 5 / np.sqrt(2000)


def test_points_are_spread_evenly_on_the_template_where_there_is_one():
    """Three times as long, the template's wall has more of the area, and so more of the points."""
    template = SocketSurface(socket(200).vertices * [1, 1, 3])
    models = [ShapeModel.fit(sockets(5), template=each) for each in (template, None)]
    wall = models[0].mean_[:, :, 2].mean(axis=0)[5]
    shares = [np.mean(m.point_basis(400, n_patterns=1)[0][0, :, 2] > wall) for m in models]
    assert shares[0] > shares[1] + 0.05


def test_sampled_clouds_are_of_the_drawn_weights():
    model = ShapeModel.fit(family(), n_modes=2)
    clouds = model.sample_clouds(12, 50, seed=3)
    assert (clouds.shape, clouds.dtype) == ((12, 50, 3), np.float32)
    mean, modes = model.point_basis(50, seed=3)
    used = set()
    for cloud, weights in zip(clouds, model.draw_weights(12, 3), strict=True):
        off = np.abs(mean + np.tensordot(weights, modes, (0, 1)) - cloud).max(axis=(1, 2))
        assert off.min() < 1e-3
        used.add(off.argmin())
    assert len(used) > 3
    np.testing.assert_array_equal(model.sample_clouds(12, 50, 3), clouds)
    assert not np.isclose(model.sample_clouds(12, 50, 4), clouds).all(axis=(1, 2)).any()


# Correspondence by the points of clouds

STRETCHES = np.linspace(-0.5, 0.5, 6)


def stretched(points, stretch):
    """Longer at the closed end and shorter at the brim, or the other way; the ends stay."""
    z = points[..., 2]
    moved = z + stretch * np.sin(np.pi * z / 200) * 200 / np.pi
    return np.concatenate([points[..., :2], moved[..., None]], axis=-1)


def by_arc_length(vertices, n_heights):
    """Space the levels evenly; all meridians of a round socket are as long."""
    arc = np.append(0, np.linalg.norm(np.diff(vertices[0], axis=0), axis=1).cumsum())
    levels = np.linspace(0, arc[-1], n_heights)
    return SocketSurface(make_interp_spline(arc, vertices, 1, axis=1)(levels))


@pytest.fixture(scope="module")
def deformed():
    """One template, deformed: surfaces by arc length, and its points; then what comes of them."""
    fine = socket(n_heights=300).vertices
    points = socket(n_heights=60).sample(300, seed=0).astype(float)
    surfaces = [by_arc_length(stretched(fine, s), 16) for s in STRETCHES]
    clouds = np.stack([stretched(points, s) for s in STRETCHES])
    fitted, fit = [], ShapeModel.fit.__func__

    def kept(cls, surfaces, *args, **kwargs):
        fitted.append(surfaces)
        return fit(cls, surfaces, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShapeModel, "fit", classmethod(kept))
        model = shape_model.transported(surfaces, clouds, 300, ranks=(1, 2, 3))
    return surfaces, clouds, model, fitted[-1]


def template_heights(surfaces):
    """Of every node its height on the template, before the surface was stretched; mm."""
    z = np.zeros((2000, 3))
    z[:, 2] = np.linspace(-5, 205, 2000)
    return np.stack(
        [
            np.interp(surface.vertices[..., 2], stretched(z, s)[:, 2], z[:, 2])
            for surface, s in zip(surfaces, STRETCHES, strict=True)
        ]
    )


def test_nodes_follow_the_deformation_that_the_points_of_clouds_show(deformed):
    surfaces, _, _, slid = deformed
    by_length, by_points = (template_heights(s).std(axis=0) for s in (surfaces, slid))
    assert by_length.mean() > 5
    assert by_points.mean() < by_length.mean() / 5
    assert np.median(by_points) < 0.5


def test_the_nodes_slide_along_the_surfaces_and_those_of_the_brim_stay_at_it(deformed):
    surfaces, _, _, slid = deformed
    for before, after in zip(surfaces, slid, strict=True):
        nodes = after.vertices.reshape(-1, 3)
        assert trimesh.proximity.closest_point(before.mesh(), nodes)[1].max() < 1e-6
        assert np.abs(after.vertices[:, -1, 2] - before.vertices[:, -1, 2]).max() < 1e-6
        np.testing.assert_array_equal(after.vertices[:, 0], after.vertices[[0] * 24, 0])


def test_drawn_clouds_are_as_dense_as_the_given_ones(deformed):
    """In the half near the closed end, of a cloud that was stretched there."""
    surfaces, clouds, model, _ = deformed
    by_length = ShapeModel.fit(surfaces)

    def below(cloud):
        return np.mean(cloud[:, 2] < (cloud[:, 2].min() + cloud[:, 2].max()) / 2)

    def of_first_mode(model, weight):
        mean, modes = model.point_basis(300, n_patterns=1)
        ends = [below(mean[0] + w * modes[0, 0]) for w in (-weight, weight)]
        return sorted(ends)

    # The fourth part and more of the points changes sides between the extremes.
    given = sorted([below(clouds[0]), below(clouds[-1])])
    extreme = 0.5 / STRETCHES.std(ddof=1)
    off, off_by_length = (
        np.abs(np.subtract(of_first_mode(m, extreme), given)).max() for m in (model, by_length)
    )
    assert given[1] - given[0] > 0.2
    assert off < 0.05 < off_by_length


# Quality


def test_generalization_falls_with_the_modes_to_nothing_where_there_are_no_more():
    # Of the 8, 7 are left: they have 6 modes.
    errors = shape_model.generalization(sockets(8), [1, 2, 3, 4, 6, 7])
    assert np.isnan(errors[:, 5]).all()
    assert (np.diff(errors[:, :5].mean(axis=0)) < 0).all()
    # A family of two modes.
    np.testing.assert_allclose(shape_model.generalization(family(6), [2]), 0, atol=1e-6)
    assert shape_model.generalization(family(6), [1]).mean() > 0.1


def test_specificity_is_zero_where_every_sample_is_a_real_socket(model):
    weights = np.random.default_rng(3).normal(size=(5, model.n_modes))
    real = [moved(model.surface(w), [0, 0, 70]) for w in weights]
    errors = shape_model.specificity(model, real, [2, model.n_modes], n_samples=5, seed=3)
    np.testing.assert_allclose(errors[:, 1], 0, atol=1e-6)
    assert (errors[:, 0] > 0.01).any()


# Files


def test_a_saved_model_comes_back_to_the_last_bit(model, deformed, tmp_path):
    surfaces, _, transported_model, _ = deformed
    np.testing.assert_allclose(transported_model.template_, ShapeModel.fit(surfaces).mean_)
    for each in (model, transported_model):
        each.save(tmp_path / "new" / "model.npz")
        loaded = ShapeModel.load(str(tmp_path / "new" / "model.npz"))
        for name, value in vars(each).items():
            np.testing.assert_array_equal(getattr(loaded, name), value)
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["model.npz"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:5000]),
        lambda file: file.write_bytes(file.read_bytes()[:58] + 8 * b"?" + file.read_bytes()[66:]),
        lambda file: np.savez(file, mean=np.zeros(3)),
        lambda file: np.savez(file, **dict(np.load(file)) | {"modes": np.zeros((2, 3))}),
        lambda file: np.savez(
            file, **dict(np.load(file)) | {"variance_fractions": np.full(9, np.nan)}
        ),
    ],
)
def test_a_file_that_is_no_model_is_named(model, tmp_path, damage):
    file = tmp_path / "odd.npz"
    model.save(file)
    damage(file)
    with pytest.raises(ValueError, match=r"odd\.npz is not a shape model"):
        ShapeModel.load(file)
