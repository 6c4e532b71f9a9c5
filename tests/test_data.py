"""Where shapes come from, how they are shared out, and what training batches hold."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from analytic import socket, sockets
from scipy.stats import kstest, truncnorm

from aaelib.models.batches import batches as batches_of
from aaelib.models.batches import draw_clouds
from aaelib.models.training import Settings
from aaelib.shapes import folders, sources
from aaelib.shapes.clouds import normalize
from aaelib.shapes.shape_model import ShapeModel
from aaelib.shapes.sockets import check_sockets
from aaelib.shapes.splits import split_sockets


@pytest.fixture(scope="module")
def bundled():
    return sources.load_sockets(source="bundled", limit=6)


def cloud(n=2048, seed=0):
    return np.random.default_rng(seed).normal(0, 100, (n, 3))


def write(file, array=None):
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, cloud() if array is None else array)
    return file


# Which source


@pytest.mark.filterwarnings("ignore:.*it seems")
def test_the_users_folder_comes_first_and_then_downloads(home, tmp_path, monkeypatch):
    def found(**options):
        shapes = sources.load_sockets(**options)
        return shapes.source, [*shapes.names]

    stand_ins = sources.BUNDLED_SOCKETS, ["TT/drawn_tt_000", "TF/drawn_tf_000"]
    assert found(limit=1) == stand_ins
    write(home / "SocketSSM" / "TT" / "downloaded.npy")
    downloaded = f"sockets of {home / 'SocketSSM'}", ["TT/downloaded"]
    assert found() == downloaded
    # A folder that has none of what is looked for is a mistake; with a corpus alone it is not.
    mine = tmp_path / "mine"
    monkeypatch.setenv("AAELIB_DATA", str(mine))
    mine.mkdir()
    with pytest.raises(FileNotFoundError, match="holds no folder SocketSSM"):
        sources.load_sockets()
    (mine / "ModelNet10").mkdir()
    assert found() == downloaded
    write(mine / "SocketSSM" / "TF" / "own.npy")
    assert found() == (f"sockets of {mine / 'SocketSSM'}", ["TF/own"])
    assert found(source="bundled", limit=1) == stand_ins


@pytest.mark.filterwarnings("ignore:.*it seems")  # random clouds have no closed end
def test_only_the_kind_asked_for_is_loaded(home):
    for name in ("TT/0", "TT/1", "TT/2", "TF/long"):
        write(home / "SocketSSM" / f"{name}.npy")
    assert list(sources.load_sockets().kinds) == ["TF", "TT", "TT", "TT"]
    assert list(sources.load_sockets("TF").names) == ["TF/long"]
    assert list(sources.load_sockets("TT", limit=2).kinds) == ["TT", "TT"]
    (home / "SocketSSM" / "TF" / "long.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"no TF sockets in .*SocketSSM"):
        sources.load_sockets("TF")


def test_a_folder_with_sealed_sockets_loads_and_splits_as_one_without(home, bundled):
    folder, n_scans = home / "SocketSSM", {"TT": 1, "TF": 1}
    for name, points in zip(bundled.names, bundled.points, strict=True):
        write(folder / f"{name}.npy", points)
    before = {limit: sources.load_sockets(limit=limit) for limit in (None, 3)}
    assert sources.load_sockets(sealed=True) is None
    sealed = [f"{stem[6:8].upper()}/{stem}" for stem in sources.SEALED]
    for i, name in enumerate(sealed):
        write(folder / f"{name}.npy", 1.05 * bundled.points[i % 12])
    for limit, shapes in before.items():
        after = sources.load_sockets(limit=limit)
        np.testing.assert_array_equal(after.names, shapes.names)
        np.testing.assert_array_equal(after.points, shapes.points)
        parts, its = (split_sockets(each, n_scans) for each in (after, shapes))
        assert all(np.array_equal(parts[part], its[part]) for part in its)
    assert sorted(sources.load_sockets(sealed=True).names) == sorted(sealed)
    assert len(sources.load_sockets("TF", sealed=True, limit=3)) == 3
    # None of one kind, or of what is bundled, is no error.
    shutil.rmtree(folder / "TT")
    assert sources.load_sockets("TT", sealed=True) is None
    assert sources.load_sockets(source="bundled", sealed=True) is None


@pytest.mark.parametrize(
    ("load", "arguments", "error", "message"),
    [
        (sources.load_sockets, {"limit": 0}, ValueError, "limit is 0"),
        (sources.load_sockets, {"source": "web"}, ValueError, "'web'; accepted: 'auto', 'Soc"),
        (sources.load_corpus, {"source": "web"}, ValueError, "accepted: 'auto', 'ModelNet'"),
        (sources.load_sockets, {"source": "SocketSSM"}, FileNotFoundError, "`make data`"),
        (sources.load_corpus, {"source": "ModelNet"}, FileNotFoundError, "MODELNET=10"),
    ],
)
def test_what_is_not_there_is_not_replaced(home, monkeypatch, load, arguments, error, message):
    with pytest.raises(error, match=message):
        load(**arguments)
    monkeypatch.setenv("AAELIB_DATA", str(home / "misspelt"))
    with pytest.raises(FileNotFoundError, match=r"AAELIB_DATA is .*misspelt"):
        load()


# Folders of clouds and meshes


def test_clouds_and_meshes_of_a_folder_are_read_and_classed(tmp_path):
    write(tmp_path / "chair" / "train" / "a.npy")
    (tmp_path / "box" / "test").mkdir(parents=True)
    trimesh.creation.box().export(tmp_path / "box" / "test" / "b.off")
    trimesh.creation.icosphere(2).export(tmp_path / "alone.off")
    # As a Mac and a notebook server leave them.
    (tmp_path / "chair" / "._a.npy").write_bytes(b"Mac OS X")
    write(tmp_path / ".ipynb_checkpoints" / "a-checkpoint.npy")
    shapes = folders.load_clouds(tmp_path, n_points=100)
    assert list(shapes.names) == ["alone", "box/test/b", "chair/train/a"]
    assert list(shapes.kinds) == [tmp_path.name, "box", "chair"]
    assert (shapes.points.shape, shapes.points.dtype) == ((3, 100, 3), np.float32)
    np.testing.assert_allclose(np.linalg.norm(shapes.points[0], axis=1), 1, atol=0.03)
    np.testing.assert_allclose(np.abs(shapes.points[1]).max(axis=1), 0.5, atol=1e-5)
    chosen = shapes[shapes.kinds == "chair"]
    assert (len(chosen), *chosen.names, chosen.source) == (1, "chair/train/a", shapes.source)
    assert list(shapes[[2, 0]].names) == ["chair/train/a", "alone"]


def test_a_folder_that_one_is_in_has_its_name_all_the_same(tmp_path, monkeypatch):
    write(tmp_path / "TT" / "train" / "a.npy")
    monkeypatch.chdir(tmp_path / "TT" / "train")
    for path, kind in ((".", "train"), ("..", "train"), ("../..", "TT")):
        shapes = folders.load_clouds(path, n_points=10)
        assert [*shapes.kinds] == [kind]
    assert shapes.source == tmp_path.name


def test_a_limit_draws_some_of_each_class(tmp_path):
    for name in ("chair/0", "chair/1", "chair/2", "lamp/only", "sofa/0", "sofa/1"):
        write(tmp_path / f"{name}.npy", cloud(10))
    draws = [folders.load_clouds(tmp_path, 10, limit=2, seed=s) for s in (0, 0, 1)]
    assert list(draws[0].kinds) == ["chair", "chair", "lamp", "sofa", "sofa"]
    assert len(set(draws[0].names)) == 5
    assert list(draws[0].names) == list(draws[1].names) != list(draws[2].names)


# The corpus


def test_modelnet_folders_are_one_corpus_in_the_unit_sphere(home, tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    monkeypatch.setenv("AAELIB_DATA", str(mine))
    bathtub = mine / "ModelNet10-off" / "bathtub" / "train" / "bathtub_1.off"
    bathtub.parent.mkdir(parents=True)
    trimesh.creation.box().export(bathtub)
    for part in ("train", "test"):
        file = mine / "ModelNet10-coarse" / "chair" / part / "chair_1.npy"
        write(file, cloud().astype(np.float16))
    corpus = sources.load_corpus(n_points=64)
    assert corpus.source == "ModelNet10-coarse + ModelNet10-off"
    assert list(corpus.kinds) == ["chair", "chair", "bathtub"]
    assert len(set(corpus.names)) == 3
    assert (corpus.points.shape, corpus.points.dtype) == ((3, 64, 3), np.float32)
    np.testing.assert_allclose(corpus.points.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(corpus.points, axis=-1).max(axis=1), 1, atol=1e-5)
    assert len(sources.load_corpus(n_points=64, limit=1)) == 2


def test_the_bundled_corpus_says_that_it_stands_in(home):
    corpus = sources.load_corpus(n_points=32, n_per_family=2)
    assert corpus.source == sources.BUNDLED_CORPUS
    assert len(set(corpus.names)) == len(corpus) == 2 * len(sources.corpus.FAMILIES)


# The bundled sockets


@pytest.mark.parametrize("source", ["auto", "bundled"])
def test_sockets_have_the_sizes_of_sockets(source):
    """Of whatever is there: the user's folder, downloads or the bundled default."""
    shapes = sources.load_sockets(source=source, limit=6)
    assert shapes.points.shape[1:] == (2048, 3)
    lengths = np.ptp(shapes.points[..., 2], axis=1)
    widths = np.ptp(shapes.points[..., :2], axis=1)
    for kind, low, high in (("TT", 150, 350), ("TF", 220, 420)):
        of_kind = lengths[shapes.kinds == kind]
        assert low < of_kind.min() < of_kind.max() < high
    assert 60 < widths.min() < widths.max() < 320
    check_sockets(shapes.points, shapes.names)  # that the closed end is down: no warning


def test_bundled_sockets_do_not_depend_on_what_else_is_asked_for(bundled):
    assert len(np.unique(bundled.points.reshape(12, -1), axis=0)) == 12
    for kind in sources.KINDS:
        alone = sources.load_sockets(kind, source="bundled", limit=2)
        same = bundled[bundled.kinds == kind][:2]
        np.testing.assert_array_equal(alone.points, same.points)
        np.testing.assert_array_equal(alone.names, same.names)


def test_a_new_bundle_is_the_shape_model_to_half_precision(home):
    surfaces = [*sockets(6), *sockets(6, seed=1, length=320)]
    kinds = np.repeat(["TT", "TF"], 6)
    shapes = folders.Shapes(np.zeros((12, 1, 3)), np.arange(12), kinds, "analytic")
    files = sources.bundle(shapes, surfaces, n_modes=3)
    assert files == [home / "sockets" / "TT.npz", home / "sockets" / "TF.npz"]
    for file, members in zip(files, (surfaces[:6], surfaces[6:]), strict=True):
        loaded, fitted = ShapeModel.load(file), ShapeModel.fit(members, 3)
        np.testing.assert_allclose(loaded.mean_, fitted.mean_, atol=1e-4)
        np.testing.assert_allclose(loaded.modes_, fitted.modes_, atol=0.02)
    drawn = sources.load_sockets("TF", limit=2)
    for points, surface in zip(drawn.points, ShapeModel.load(files[1]).sample(2, 1), strict=True):
        assert trimesh.proximity.closest_point(surface.mesh(), points)[1].max() < 1e-3


# Shapes


def test_digests_are_of_the_points_in_single_precision():
    points = np.arange(1.0, 13.0).reshape(4, 3)
    # Stored in the cards of trained models.
    assert folders.digest(points) == "688139b80dfbc1eb"
    for same in (points.astype(">f4"), np.asfortranarray(points), points + 1e-12):
        assert folders.digest(same) == folders.digest(points)
    for other in (points + 1e-3, points[::-1], points[:3]):
        assert folders.digest(other) != folders.digest(points)


# Training batches

SCALE = 150.0  # mm
N_POINTS = 48


@pytest.fixture(scope="module")
def clouds():
    return np.stack([s.sample(N_POINTS, seed=i) for i, s in enumerate(sockets(5))]) + 300


@pytest.fixture(scope="module")
def shape_models():
    """Of one mode each, of sockets 50 and 90 mm wide."""
    return [
        ShapeModel.fit([socket(length, radius) for length in (180, 220)]) for radius in (50, 90)
    ]


def batches(
    clouds, n_steps=3, batch_size=8, first_step=0, normalization="dataset", scale=SCALE, **options
):
    settings = Settings(batch_size=batch_size, **options)
    return np.stack(list(batches_of(clouds, scale, settings, normalization)(first_step, n_steps)))


def is_real(points, clouds, normalization="dataset"):
    """Which of the batched clouds are among the real ones."""
    scale = SCALE if normalization == "dataset" else None
    real = normalize(clouds, normalization, scale)[0]
    points = points.reshape(-1, 1, N_POINTS, 3)
    return (np.abs(points - real).max(axis=(2, 3)) < 1e-5).any(axis=1)


@pytest.mark.parametrize("normalization", ["dataset", "unit-sphere"])
def test_batches_without_augmentation_are_real_clouds(clouds, shape_models, normalization):
    found = batches(clouds, normalization=normalization)
    assert (found.shape, found.dtype) == ((3, 8, N_POINTS, 3), np.float32)
    assert is_real(found, clouds, normalization).all()
    assert len(np.unique(found.reshape(24, -1), axis=0)) == 5
    # With it they have sizes of their own on the scale of the set, or fill the unit sphere.
    drawn = batches(clouds, normalization=normalization, shape_models=shape_models, share=1.0)
    radii = np.linalg.norm(drawn, axis=-1).max(axis=-1)
    assert (radii.std() > 0.01) == (normalization == "dataset")
    assert (np.abs(radii - 1).max() < 1e-5) == (normalization == "unit-sphere")


def test_batches_depend_on_the_seed_and_a_resumed_run_sees_the_same(clouds, shape_models):
    options = {"shape_models": shape_models, "jitter": 0.01, "rotate": True}
    whole = batches(clouds, 5, seed=3, **options)
    np.testing.assert_array_equal(batches(clouds, 5, seed=3, first_step=2, **options), whole[2:])
    assert not np.isclose(batches(clouds, 5, seed=4, **options), whole).all(axis=(2, 3)).any()
    assert len(np.unique(whole.reshape(40, -1), axis=0)) == 40


@pytest.mark.parametrize(("share", "drawn"), [(0.0, 0), (0.6, 5), (1.0, 8)])
def test_the_share_of_drawn_clouds_is_that_asked_for(clouds, shape_models, share, drawn):
    found = batches(clouds, shape_models=shape_models, share=share)
    for batch in found:
        real = is_real(batch, clouds)
        assert np.sum(~real) == drawn
        wide = np.ptp(batch[~real, :, 0], axis=1) * SCALE > 140
        assert abs(wide.sum() - drawn / 2) <= 0.5


def test_kinds_are_drawn_as_often_as_there_are_surfaces(clouds, shape_models):
    models = [replace(m, n_surfaces_=n) for m, n in zip(shape_models, (30, 10), strict=True)]
    for batch in batches(clouds, shape_models=models, share=1.0):
        assert np.sum(np.ptp(batch[:, :, 0], axis=1) * SCALE > 140) == 2


def off_by(clouds, weights, basis):
    """How far clouds of a model of one mode are off those of their weights, by pattern."""
    mean, modes = (part - part.mean(axis=-2, keepdims=True) for part in basis)
    by_hand = mean[:, None] + np.einsum("bm,kmpx->kbpx", weights, modes)
    return np.abs(clouds - clouds.mean(axis=1, keepdims=True) - by_hand).max(axis=(2, 3))


@pytest.mark.parametrize("limit", [0.5, 2.5])
def test_drawn_clouds_are_of_the_shape_model_with_truncated_normal_weights(shape_models, limit):
    basis = shape_models[0].point_basis(N_POINTS, seed=0)
    draws = [draw_clouds(*basis, 16, limit, [0, i]) for i in range(40)]
    patterns = [off_by(*map(np.asarray, draw), basis).max(axis=1) for draw in draws]
    assert np.min(patterns, axis=1).max() < 1e-2
    assert set(np.argmin(patterns, axis=1)) == set(range(8))
    weights = np.concatenate([weights.numpy()[:, 0] for _, weights in draws])
    assert np.abs(weights).max() <= limit
    expected = truncnorm(-limit, limit)
    assert weights.std() == pytest.approx(expected.std(), rel=0.06)
    assert kstest(weights, expected.cdf).pvalue > 0.001
    np.testing.assert_array_equal(draw_clouds(*basis, 16, limit, [0, 3])[0], draws[3][0])


def test_rotation_turns_each_cloud_about_the_long_axis(clouds, shape_models):
    still, turned = (
        batches(clouds, 20, shape_models=shape_models, rotate=rotate).reshape(-1, N_POINTS, 3)
        for rotate in (False, True)
    )
    np.testing.assert_array_equal(turned[..., 2], still[..., 2])
    before, after = (points[..., 0] + 1j * points[..., 1] for points in (still, turned))
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=1e-6)
    turns = np.sum(after * before.conj(), axis=1)
    np.testing.assert_allclose(after, before * (turns / np.abs(turns))[:, None], atol=1e-5)
    assert kstest(np.angle(turns) / (2 * np.pi) + 0.5, "uniform").pvalue > 0.001


def test_jitter_is_independent_noise_of_its_standard_deviation(clouds):
    noise = batches(clouds, 10, jitter=0.02) - batches(clouds, 10)
    assert noise.std() == pytest.approx(0.02, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=0.02 * 4 / np.sqrt(noise.size))
    flat = noise.reshape(80, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(80)).max() < 6 / np.sqrt(flat.shape[1])
