"""Scans that are spoilt, and the whole sockets that are found for them."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import trimesh
from test_cli import run

from aaelib.apps import as_scanned, completion, outputs, posterior, scan_report
from aaelib.metrics import surface_distance
from aaelib.models import in_numpy, scans
from aaelib.shapes import scanning, sources
from aaelib.shapes.places import DATA
from aaelib.shapes.scanning import Spoiling
from aaelib.shapes.shape_model import ShapeModel
from aaelib.shapes.sockets import SocketSurface

CUT = Spoiling(missing=0.3, n_points=1024)


def side_of(scanned):
    return "left" if np.linalg.det(scanned.motion[:3, :3]) < 0 else "right"


@pytest.fixture(scope="module")
def model():
    """The linear shape model of transtibial sockets that comes with the package."""
    return ShapeModel.load(DATA / "sockets" / "TT.npz")


@pytest.fixture(scope="module")
def linear(model):
    return completion.Linear.of(model, 8)


@pytest.fixture(scope="module")
def drawn(linear):
    """A draw of the linear model, and its weights."""
    weights = np.random.default_rng(1).normal(size=8)
    return linear.decode(weights[None])[0].astype(float), weights


# Spoiling -------------------------------------------------------------------------------------


def test_the_motion_of_a_scan_leads_back_to_its_socket(drawn):
    for seed in range(4):
        scanned = scanning.scan(drawn[0], CUT, np.random.default_rng(seed))
        turn, shift = scanned.motion[:3, :3], scanned.motion[:3, 3]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        there = drawn[0][~scanned.missing]
        back = (scanned.points - shift) @ turn
        assert {tuple(p) for p in back.round(6)} <= {tuple(p) for p in there.round(6)}


def test_scans_are_spoilt_as_much_as_they_say():
    points = np.random.default_rng(0).normal(size=(20_000, 3)) * [30, 30, 80]
    how = Spoiling(missing=0.25, noise=2.0, outliers=0.1, n_points=5000, tilt=20, shift=30)
    found = [scanning.scan(points, how, np.random.default_rng(seed)) for seed in range(60)]
    for each in found:
        assert each.missing.mean() == pytest.approx(0.25, abs=1e-3)
        assert each.points.shape == (5000, 3)
        assert np.abs(each.motion[:3, 3]).max() <= 30
        assert each.motion[2, 2] >= np.cos(np.radians(20)) - 1e-9
    assert 0.3 < np.mean([side_of(each) == "left" for each in found]) < 0.7
    noisy = scanning.scan(points, Spoiling(noise=2.0, uneven=False), np.random.default_rng(0))
    clean = scanning.scan(points, Spoiling(uneven=False), np.random.default_rng(0))
    assert np.std(noisy.points - clean.points) == pytest.approx(2, rel=0.05)


def test_the_same_seed_gives_the_same_scan(drawn):
    a, b, c = (scanning.scan(drawn[0], CUT, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a.points, b.points)
    assert not np.array_equal(a.points, c.points)


# Search ---------------------------------------------------------------------------------------


def test_the_slope_is_that_of_the_energy(linear, drawn):
    """But for the code, whose slope leaves out that normals turn."""
    points = scanning.scan(drawn[0], CUT, np.random.default_rng(0)).points
    start = completion.turned(points, linear, linear.middle)[1]
    for reach in (1e6, 20.0):
        _, slope, _ = completion._linearized(points, start, reach)
        for i in range(8, 14):
            ends = [completion.moved(start, h * np.eye(len(slope))[i]) for h in (1e-6, -1e-6)]
            plus, minus = (completion._linearized(points, end, reach)[0] for end in ends)
            assert (plus - minus) / 4e-6 == pytest.approx(slope[i], rel=0.05, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_a_draw_of_a_linear_model_is_recovered_from_a_turned_and_cut_copy(
    model, linear, drawn, seed
):
    """To 0.3 mm between the surfaces, both ways, of either leg, with what is missing."""
    scanned = scanning.scan(drawn[0], CUT, np.random.default_rng(seed))
    starts = completion.turned(scanned.points, linear, linear.middle)
    found, _ = completion.search(scanned.points, starts, completion.FROM_MEANS)
    mean, modes = (each[0] for each in model.point_basis(n_patterns=1))

    def placed(weights, motion):
        mesh = model.surface(weights).mesh()
        mesh.apply_translation(-(mean + np.tensordot(weights, modes[:8], 1)).mean(axis=0))
        return mesh.apply_transform(motion)

    made, true = placed(found.code, found.motion), placed(drawn[1], scanned.motion)
    ways = surface_distance(made.vertices, true), surface_distance(true.vertices, made)
    assert np.mean([way.mean() for way in ways]) < 0.3


def test_stray_points_hardly_count(linear, drawn):
    rng = np.random.default_rng(0)
    clean = scanning.scan(drawn[0], Spoiling(), rng)
    strays = clean.points.mean(axis=0) + 150 * rng.normal(size=(100, 3))
    start = completion.Start(linear, linear.middle, linear.middle, clean.motion)
    found, with_strays = (
        completion.search(points, [start], ())[0]
        for points in (clean.points, np.concatenate([clean.points, strays]))
    )
    assert np.abs(found.cloud - with_strays.cloud).max() < 1


def test_a_cloud_without_modes_is_only_moved(drawn):
    scanned = scanning.scan(drawn[0], CUT, np.random.default_rng(0))
    only = completion.Linear(drawn[0])
    starts = completion.turned(scanned.points, only, only.middle)
    found, _ = completion.search(scanned.points, starts, completion.FROM_MEANS)
    np.testing.assert_allclose(found.motion, scanned.motion, atol=0.3)


def test_starts_are_ranked_by_distance(linear, drawn):
    scanned = scanning.scan(drawn[0], Spoiling(tilt=0, shift=0), np.random.default_rng(0))
    true = completion.Start(linear, drawn[1], linear.middle, scanned.motion)
    others = completion.turned(scanned.points, linear, linear.middle)
    assert completion.ranked(scanned.points, [*others, true])[0] is true


# Encoder of scans -----------------------------------------------------------------------------


def test_six_numbers_make_a_rotation():
    from aaelib.models.scan_training import _turns

    numbers = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    found = np.stack([scans.turn(each) for each in numbers])
    np.testing.assert_allclose(found @ found.transpose(0, 2, 1) - np.eye(3), 0, atol=1e-6)
    assert np.linalg.det(found) == pytest.approx(np.ones(5), abs=1e-6)
    np.testing.assert_allclose(scans.turn(np.zeros(6)), np.eye(3))
    np.testing.assert_allclose(_turns(numbers), found, atol=1e-5)


def test_an_encoder_of_scans_learns_and_is_read_back(tmp_path, capsules):
    from aaelib.models import scan_training

    points = capsules.sample(8)
    read = scan_training.train(capsules, points, 3)
    again = scan_training.train(capsules, points, 3)
    read.save(tmp_path / "own-scans.npz")
    aae = in_numpy.of(capsules)
    kept = scans.beside(aae, tmp_path / "own.npz")
    for other in (again, kept):
        for a, b in zip(read.read(points[0]), other.read(points[0]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    assert scans.beside(aae, tmp_path / "other.npz") is None


def test_an_encoder_of_another_model_is_refused(numpy_model, tmp_path):
    weights = scans.ScanEncoder.load(numpy_model).weights
    arrays = {f"encoder_{i}": each for i, each in enumerate(weights)}
    about = json.dumps({"of": "another"})
    np.savez(tmp_path / "a-scans.npz", about=about, **arrays)
    with pytest.raises(ValueError, match="of another model"):
        scans.beside(numpy_model, tmp_path / "a.npz")
    (tmp_path / "b-scans.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"b-scans\.npz is no encoder of scans"):
        scans.beside(numpy_model, tmp_path / "b.npz")


# Whole sockets --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def truths():
    shapes = sources.load_sockets(source="bundled")
    chosen = [np.flatnonzero(shapes.kinds == kind)[3] for kind in ("TT", "TF")]
    surfaces = [SocketSurface.from_points(shapes.points[i]) for i in chosen]
    return {kind: as_scanned.Truth(s) for kind, s in zip(("TT", "TF"), surfaces, strict=True)}


@pytest.mark.parametrize("kind", ["TT", "TF"])
def test_the_shipped_model_completes_a_scan(numpy_model, truths, kind):
    """30 % missing, 1 mm of noise, strays: side, kind, and the wall to 2 mm."""
    scanned = truths[kind].scan(as_scanned.CASES[0.3], 0)
    found = completion.complete(numpy_model, scanned.points, scans.ScanEncoder.load(numpy_model))
    assert (found.side, found.kind) == (side_of(scanned), kind)
    made = found.placed(found.surface.mesh())
    true = truths[kind].mesh.copy().apply_transform(scanned.motion)
    both = surface_distance(true.vertices, made), surface_distance(made.vertices, true)
    assert np.mean([each.mean() for each in both]) < 2


def test_a_model_without_an_encoder_of_scans_searches_from_its_means(numpy_model, truths):
    scanned = truths["TT"].scan(as_scanned.CASES[0.1], 1)
    found = completion.complete(numpy_model, scanned.points)
    assert (found.side, found.kind) == (side_of(scanned), "TT")


def test_a_closed_wall_is_no_scan(numpy_model, truths):
    surface = SocketSurface.from_points(truths["TT"].points)
    wall = trimesh.sample.sample_surface(surface.shell(4.0), 2048, seed=0)[0]
    with pytest.raises(ValueError, match="a closed wall, it seems"):
        completion.complete(numpy_model, wall, scans.ScanEncoder.load(numpy_model), "wall.stl")


def test_errors_of_the_truth_are_none(truths):
    truth = truths["TT"]
    scanned = truth.scan(CUT, 0)
    only = completion.Linear(truth.points[::3])
    start = completion.Start(only, only.middle, only.middle, scanned.motion)
    mean, p95, missing = truth.errors(scanned, start)
    assert max(mean, missing) < 0.3
    assert p95 < 1
    moved = scanned.motion.copy()
    moved[2, 3] += 10
    start = completion.Start(only, only.middle, only.middle, moved)
    assert truth.errors(scanned, start)[0] > 1


def test_a_scan_far_from_the_origin_gets_its_socket_there(truths, tmp_path):
    scanned, far = truths["TT"].scan(as_scanned.CASES[0.1], 3), [5e5, -4e5, 1e5]
    np.save(tmp_path / "scan.npy", scanned.points + far)
    found = outputs.complete("sockets", tmp_path / "scan.npy", tmp_path / "own.stl")[0]
    near = completion.complete(in_numpy.load("sockets"), scanned.points)
    assert found.motion[:3, 3] == pytest.approx(near.motion[:3, 3] + far, abs=3)
    middle = trimesh.load_mesh(tmp_path / "own.stl").bounds.mean(axis=0)
    assert middle == pytest.approx(far, abs=200)


def test_stray_points_do_not_mislead_the_encoder(numpy_model, truths):
    clean = truths["TT"].scan(Spoiling(noise=0.5, n_points=2000), 0)
    strays = np.random.default_rng(0).uniform(-400, 400, (100, 3))
    points = np.concatenate([strays, clean.points])
    found = completion.complete(numpy_model, points, scans.ScanEncoder.load(numpy_model))
    assert (found.side, found.kind) == (side_of(clean), "TT")
    made = found.placed(found.surface.mesh())
    assert np.median(surface_distance(clean.points, made)) < 0.6


def test_a_small_part_of_a_socket_is_told_and_what_is_none_refused(numpy_model, truths):
    points = truths["TT"].points
    brim = points[points[:, 2] > np.quantile(points[:, 2], 0.85)]
    with pytest.warns(UserWarning, match=r"only \d\d% of the socket that was found"):
        completion.complete(numpy_model, brim)
    cube = trimesh.creation.box((150, 150, 150)).sample(2000, seed=0)
    with pytest.raises(ValueError, match="no socket of the model follows it; half"):
        completion.complete(numpy_model, cube)


# What a scan leaves open -----------------------------------------------------------------------


def test_a_number_that_moves_nothing_has_the_priors_spread_and_the_radius_that_of_noise(drawn):
    """Widened by what the model cannot follow, and by the noise: `completion.local`'s formula."""
    out = drawn[0] * [1, 1, 0] / np.linalg.norm(drawn[0][:, :2], axis=1)[:, None]
    radius = completion.Linear(drawn[0], [5 * out, 0 * out])
    points = scanning.scan(drawn[0], Spoiling(noise=1.0), np.random.default_rng(0)).points
    start = completion.turned(points, radius, radius.middle)[0]
    start = completion.search(points, [start], ())[0]
    variances = np.diag(np.linalg.inv(completion.local(points, start)[1]))
    assert 1.44 < variances[1] < 1.44 + 0.5
    assert 5 * np.sqrt(variances[0]) == pytest.approx(0.15, rel=0.3)  # mm
    assert np.isfinite(variances).all()


def test_a_scan_leaves_open_what_it_lacks(truths):
    truth, aae = truths["TF"], in_numpy.load("sockets")
    encoder = scans.ScanEncoder.load(aae)
    scanned = truth.scan(replace(as_scanned.CASES[0.3], outliers=0.0), 4)
    whole = completion.complete(aae, scanned.points, encoder)
    begun = completion.begun(aae, scanned.points, encoder)
    left, again = (posterior.given_scan(scanned.points, whole, *begun, n=60) for _ in range(2))
    np.testing.assert_array_equal(left.uncertainty, again.uncertainty)
    there, gone = truth.inside(scanned, left, whole.motion)
    assert gone["half"] > 1.3 * there["half"]
    assert there["95%"] > 0.8
    assert gone["95%"] > 0.6
    # Draws are where the scan is.
    some = left.surfaces[left.chosen[1]].mesh().apply_transform(whole.motion)
    assert np.median(surface_distance(scanned.points, some)) < 2
    assert 0 < left.half_widths[0] < left.half_widths[1]
    # Sizes of the draws, as of those given sizes: nothing was told.
    assert left.sizes(["length_mm"]).std() > 0.5


def test_intervals_of_completed_scans_are_told():
    rows = [
        {"split": split, "missing": 0.3, "model": model, "part": part}
        | dict(zip(as_scanned.INSIDE, (0.5, 0.75 + split / 10, 0.9, half), strict=True))
        for split, model in product((0, 1), as_scanned.OPEN)
        for part, half in (("scanned", 1.0), ("missing", 2.5))
        for _ in range(3)  # scans, of which the spread over splits knows nothing
    ]
    frame = pd.DataFrame(rows)
    table = scan_report.left_open(frame)
    row = table.loc["30% missing, network, refined, missing part"]
    assert row["80%"] == pytest.approx(0.8)
    assert row["80%_sd"] == pytest.approx(0.1 / np.sqrt(2))
    said = scan_report.open_sentence(frame)
    assert "50, 80, 90 % of its missing part" in said
    assert "± 2.5 mm and ± 1.0 mm" in said


@pytest.fixture(scope="module")
def frame():
    """Errors of which the network's are half of the linear models' in every scan."""
    rng, rows = np.random.default_rng(0), []
    for split, socket, missing in product((0, 1, 2), range(4), (0.0, 0.3)):
        error = np.exp(rng.normal())
        for name in (*scan_report.SHOWN, as_scanned.LINEAR_FEW, as_scanned.LINEAR_LONG):
            about = {"split": split, "socket": socket, "missing": missing, "contender": name}
            half = {as_scanned.REFINED: 0.5, as_scanned.LINEAR_READ: 1.1}.get(name, 1.0)
            numbers = {"mean_mm": half * error, "p95_mm": error, "missing_mm": error, "steps": 10}
            rows.append(about | numbers | {"failed": half * error > as_scanned.FAILURE})
    return pd.DataFrame(rows)


def test_ratios_are_of_the_same_scans(frame):
    found = scan_report.ratio(frame, as_scanned.REFINED, as_scanned.LINEAR, 0.3)
    assert found == pytest.approx((0.5, 0.5, 0.5))


def test_sentences_say_who_is_nearer(frame):
    first, second, third, _ = scan_report.sentences(frame)
    assert first.count("the first is nearer: 0.50 times the error, 0.50 to 0.50") == 2
    rows = frame[(frame.missing == 0.3) & (frame.contender == as_scanned.REFINED)]
    # An error and its half are alike if the half is.
    assert f"in {100 * (rows.mean_mm < 0.1).mean():.0f} % of the scans" in second
    assert "the second is nearer: 1.10 times the error" in third


def test_sentences_say_how_often_a_search_fails(frame):
    frame = frame.assign(failed=False)
    assert scan_report.sentences(frame)[0].count("never more than 5 mm") == 3
    some = frame.contender.eq(as_scanned.REFINED) & (frame.split == 0)
    first = scan_report.sentences(frame.assign(failed=some))[0]
    assert "more than 5 mm in 33 % of the scans" in first
    assert first.count("never more than 5 mm") == 2


def test_the_table_has_means_over_splits_and_their_spread(frame):
    table = scan_report.table(frame)
    name = f"30% missing, {as_scanned.REFINED}"
    rows = frame[(frame.missing == 0.3) & (frame.contender == as_scanned.REFINED)]
    means = rows.groupby("split").mean_mm.mean()
    assert table.mean_mm[name] == pytest.approx(means.mean())
    assert table.mean_mm_sd[name] == pytest.approx(means.std())


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((0, 3)), "0 points, fewer than the 100"),
        (np.float64(3), "float64 array of shape ()"),
        (np.full((200, 3), np.nan), "not finite"),
    ],
)
def test_a_file_that_is_no_scan_is_refused_by_its_name(tmp_path, points, message):
    np.save(tmp_path / "bad.npy", points)
    code, _, error = run("complete", tmp_path / "bad.npy", "--out", tmp_path / "own.stl")
    assert code == 1
    assert "bad.npy" in error
    assert message in error
    assert not (tmp_path / "own.stl").exists()


@pytest.mark.parametrize("suffix", [".npy", ".ply", ".stl"])
def test_the_command_writes_a_wall_where_the_scan_is(truths, tmp_path, suffix):
    scanned, file = truths["TT"].scan(as_scanned.CASES[0.0], 2), tmp_path / f"scan{suffix}"
    if suffix == ".npy":
        np.save(file, scanned.points)
    elif suffix == ".ply":  # points alone
        trimesh.PointCloud(scanned.points).export(file)
    else:
        truths["TT"].mesh.copy().apply_transform(scanned.motion).export(file)
    code, said, error = run("complete", file, "--out", tmp_path / "own.stl")
    assert code == 0, error
    assert f"a socket (transtibial, {side_of(scanned)} leg)" in said
    wall = trimesh.load_mesh(tmp_path / "own.stl")
    assert wall.is_watertight
    assert wall.volume > 0
    assert np.median(surface_distance(scanned.points, wall)) < 1


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((50, 3)), "the scan has 50 points; 100 or more"),
        (np.random.default_rng(0).normal(size=(200, 3)), "--unit"),
        (np.full((200, 3), np.nan), "not finite"),
        (np.zeros((200, 2)), r"expected \(n_points, 3\)"),
    ],
)
def test_what_is_no_scan_is_refused(numpy_model, points, message):
    with pytest.raises(ValueError, match=message):
        completion.complete(numpy_model, points)
