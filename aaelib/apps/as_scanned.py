"""Scans of unseen sockets, and what each contender makes of them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import trimesh
from scipy.spatial import cKDTree

from ..metrics import surface_distance
from ..models import in_numpy, scan_training
from ..models.code import digest_of
from ..models.files import load
from ..models.runs import card_of
from ..models.scans import ScanEncoder
from ..shapes.scanning import Spoiling, scan
from ..shapes.sockets import SocketSurface
from ..study import cards, conditions
from ..study.evaluation import once
from ..study.side_by_side import side_by_side
from . import design, posterior, tables
from .completion import (
    FROM_MEANS,
    FROM_READ,
    THOROUGH,
    Completion,
    Linear,
    Start,
    as_read,
    begun,
    ranked,
    search,
    turned,
)
from .limbs import signed_gaps

# How the scans are spoilt, by the share of the wall that is missing.
CASES = {
    0.0: Spoiling(uneven=False, n_points=4096),
    0.1: Spoiling(0.1, 0.5, 0.01, 2048),
    0.2: Spoiling(0.2, 0.75, 0.02, 1536),
    0.3: Spoiling(0.3, 1.0, 0.03, 1024),
    0.4: Spoiling(0.4, 2.0, 0.05, 512),
}
FAILURE = 5.0  # mm of mean two-way distance
NEAREST, ONE_PASS = "nearest training socket", "network, one pass"
LINEAR, LINEAR_LONG = "linear, as long", "linear, many starts"
LINEAR_FEW, LINEAR_READ = "linear, as few steps", "linear, from what is read"
REFINED = "network, refined"
CONTENDERS = NEAREST, LINEAR, LINEAR_LONG, LINEAR_FEW, ONE_PASS, REFINED, LINEAR_READ
OPEN = REFINED, LINEAR  # whose posteriors are looked at

_TRIED = 10  # training sockets that are moved to the scan, of those that are nearest at first
_DENSE = 8192  # points of a socket of which a scan is drawn


def scan_encoders(study):
    """Train the encoder of scans of each split's best model, or find it trained."""
    tasks = [(each,) for each in study.splits()]
    side_by_side(_scan_encoder, tasks, [1.0] * len(tasks), "encoders of scans")


def scan_encoder_path(study):
    """The file of a split's encoder of scans."""
    return study.model_path(f"scans_{study.seed}").with_suffix(".npz")


def _scan_encoder(study):
    path, of, steps = scan_encoder_path(study), _model_path(study), study["as_scanned"]["steps"]
    made_from = [digest_of(scan_training.__name__), card_of(of)["fingerprint"], steps]
    with conditions.made_once(path, made_from) as is_new:
        if is_new:
            points = _training_clouds(study)
            scan_training.train(load(of), points, steps, study.seed).save(path)


def _training_clouds(study):
    """(n, n_points, 3), mm, of the sockets that the split's best model has learnt from."""
    return study.load_sockets()[0].points[conditions.socket_sets(study)["training"]]


def _model_path(study):
    return conditions.path_of(study, conditions.CONDITIONS[conditions.BEST])


def contenders(study):
    """
    All that can complete a scan, as a split of the study has it.

    Returns
    -------
    by_name : dict of str to function
        Of a scan (n, 3), mm, to the `completion.Start` that was found, and the steps taken.
    begins : dict of str to function
        Of a scan, where the search of `LINEAR` or `REFINED` begins, and its stages.
    """
    aae = in_numpy.of(load(_model_path(study)))
    encoder = ScanEncoder.load(aae, scan_encoder_path(study))
    read = partial(as_read, aae, scans=encoder)
    clouds = _training_clouds(study)
    known = [Linear(cloud) for cloud in clouds - clouds.mean(axis=1, keepdims=True)]
    models, size = conditions.load_shape_models(study, "training"), aae.recipe.code_size
    linear = {kind: Linear.of(model, size) for kind, model in models.items()}

    def nearest(points):
        """Of every training socket the best position, and of these the best few."""
        of_each = [ranked(points, turned(points, each, each.middle))[0] for each in known]
        return search(points, ranked(points, of_each)[:_TRIED], FROM_MEANS)

    def from_means(points, firsts=(0,)):
        """Starts at the mean of each kind, its first weight, which is about the size, as given."""
        return [
            replace(start, code=first * np.eye(len(start.code))[0])
            for kind, each in linear.items()
            for start in turned(points, each, each.middle, kind=kind)
            for first in firsts
        ]

    def linear_as_read(points):
        """Starts at the mean of the kind and in the place that the encoder reads."""
        found = []
        for start in read(points):
            each = linear[start.kind]
            found.append(Start(each, each.middle, each.middle, start.motion))
        return found

    begins = {
        LINEAR: lambda points: (from_means(points), FROM_MEANS),
        REFINED: lambda points: begun(aae, points, encoder),
    }
    by_name = {
        NEAREST: nearest,
        LINEAR: lambda points: search(points, *begins[LINEAR](points)),
        LINEAR_LONG: lambda points: search(points, from_means(points, (-1, 0, 1)), THOROUGH),
        LINEAR_FEW: lambda points: search(points, from_means(points), FROM_READ),
        ONE_PASS: lambda points: (read(points)[0], 0),
        REFINED: lambda points: search(points, *begins[REFINED](points)),
        LINEAR_READ: lambda points: search(points, linear_as_read(points), FROM_READ),
    }
    return by_name, begins


class Truth:
    """
    An unseen socket that is scanned.

    Parameters
    ----------
    surface : SocketSurface
        Upright, of a right leg.

    Attributes
    ----------
    mesh : trimesh.Trimesh
    points : numpy.ndarray
        (8192, 3), uniformly drawn on it, their centroid at the origin, mm.
    """

    def __init__(self, surface):
        self.mesh = surface.mesh()
        self.points = trimesh.sample.sample_surface(self.mesh, _DENSE, seed=0)[0]
        middle = self.points.mean(axis=0)
        self.mesh.apply_translation(-middle)
        self.points -= middle

    def scan(self, how, seed):
        """A `scanning.Scanned` of it."""
        return scan(self.points, how, np.random.default_rng(seed))

    def errors(self, scanned, start):
        """
        Distances of a completed socket from the true one, mm.

        Returns the mean and the 95th percentile of the distances of evenly spread points of either
        socket from the other, and the mean of those of the part of the true one that was missing
        (NaN if nothing was).
        """
        surface = SocketSurface.from_points(start.cloud, smoothing=design.SMOOTHING)
        made = surface.mesh().apply_transform(np.linalg.inv(scanned.motion) @ start.motion)
        there = surface_distance(self.points[::4], made)
        points = trimesh.sample.sample_surface(made, len(there), seed=0)[0]
        both = np.concatenate([there, surface_distance(points, self.mesh)])
        missing = there[scanned.missing[::4]]
        return both.mean(), np.quantile(both, 0.95), missing.mean() if len(missing) else np.nan

    def inside(self, scanned, left, motion):
        """
        Count how often `posterior.given_scan`'s walls are where the true one is.

        Returns two rows of `tables.inside`, for the part that was scanned and for the missing one
        (NaN if nothing was); `motion` is of the completed socket.
        """
        back, points = np.linalg.inv(motion) @ scanned.motion, left.mean.mesh().vertices
        wall = -signed_gaps(points, self.mesh.copy().apply_transform(back))
        there = np.isfinite(wall) & np.isfinite(left.walls).all(axis=0)
        nearest = cKDTree(trimesh.transform_points(self.points, back)).query(points)[1]
        is_missing = scanned.missing[nearest]
        parts = [there & ~is_missing, there & is_missing]
        return [
            tables.inside(left.walls[:, part], wall[part]) if part.any() else dict.fromkeys(INSIDE)
            for part in parts
        ]


def tested(study):
    """The surfaces of the test sockets that are scanned, as many as the profile says."""
    _, surfaces, split = study.load_sockets()
    some = np.linspace(0, len(split["test"]) - 1, study["as_scanned"]["sockets"]).astype(int)
    return [surfaces[i] for i in split["test"][some]]


def evaluate(study):
    """
    Complete scans of unseen sockets by every contender, in each split.

    Returns
    -------
    pandas.DataFrame
        A row for each scan and contender: "split", "socket", "missing" (a key of `CASES`),
        "contender"; "mean_mm", "p95_mm", "missing_mm" (`Truth.errors`); "failed", whether the first
        is more than 5 mm; "steps" of the search.
    """
    tasks = [(each, share) for each in study.splits() for share in study["as_scanned"]["missing"]]
    found = side_by_side(_evaluated, tasks, [1.0] * len(tasks), "scans")
    frames = {}
    for (each, missing), errors in zip(tasks, found, strict=True):
        of_scans = [pd.DataFrame(e, CONTENDERS, COLUMNS) for e in errors]
        frames[each.seed, missing] = pd.concat(dict(enumerate(of_scans)))
    frame = pd.concat(frames, names=["split", "missing", "socket", "contender"]).reset_index()
    return frame.assign(failed=frame.mean_mm > FAILURE)


COLUMNS = "mean_mm", "p95_mm", "missing_mm", "steps"
INSIDE = *(f"{level:.0%}" for level in tables.LEVELS), "half"


def _evaluated(study, missing):
    """Errors and steps (n_sockets, n_contenders, 4) of a case, or what an earlier call found."""

    def errors(by_name, _, truth, scanned):
        made = [by_name[name](scanned.points) for name in CONTENDERS]
        return [(*truth.errors(scanned, start), steps) for start, steps in made]

    return _of_scans(study, missing, "as_scanned", errors)


def left_open(study):
    """
    Count how often the walls of unseen sockets are where completed scans leave them open.

    Returns
    -------
    pandas.DataFrame
        A row for each split, case, model (`REFINED`, `LINEAR`) and part ("scanned", "missing"), and
        the means of `tables.inside` over scans: shares of the wall in the central intervals of
        `posterior.given_scan`, and their mean half width, mm.
    """
    tasks = [(each, share) for each in study.splits() for share in study["as_scanned"]["missing"]]
    found = side_by_side(_left_open, tasks, [1.0] * len(tasks), "what scans leave open")
    rows = []
    for (each, missing), counted in zip(tasks, found, strict=True):
        for model, part in np.ndindex(counted.shape[1:3]):
            about = {"split": each.seed, "missing": missing}
            about |= {"model": OPEN[model], "part": ("scanned", "missing")[part]}
            rows.append(about | dict(zip(INSIDE, counted[:, model, part].T, strict=True)))
    return pd.DataFrame(rows).explode([*INSIDE]).dropna()


def _left_open(study, missing):
    """Numbers of `tables.inside` (n_sockets, 2 models, 2 parts, 4) of a case."""

    def inside(_, begins, truth, scanned):
        rows = []
        for model in OPEN:
            starts, stages = begins[model](scanned.points)
            whole = Completion.of(search(scanned.points, starts, stages)[0])
            left = posterior.given_scan(scanned.points, whole, starts, stages, tables.DRAWS)
            counted = truth.inside(scanned, left, whole.motion)
            rows.append([[part[name] for name in INSIDE] for part in counted])
        return rows

    return _of_scans(study, missing, "left_open", inside)


def _of_scans(study, missing, name, measure):
    """What is measured at each scan of a case, an array, or what an earlier call found."""
    surfaces = tested(study)
    file = study.model_path(f"{name}_{round(100 * missing)}_{study.seed}").with_suffix(
        ".evaluation.npz"
    )
    encoder = scan_encoder_path(study)
    made_from = [card_of(path)["fingerprint"] for path in (_model_path(study), encoder)]
    key = [digest_of(__name__), made_from, [each.vertices for each in surfaces], CASES[missing]]

    def measured():
        made_by, found = contenders(study), []
        for i, surface in enumerate(surfaces):
            truth = Truth(surface)
            scanned = truth.scan(CASES[missing], (study.seed, i))
            found.append(measure(*made_by, truth, scanned))
        return {"found": np.array(found, float)}

    return once(file, key, measured)["found"]


def export(study):
    """Write the encoder of scans of the first split's model to take away, beside that model."""
    aae = in_numpy.load(cards.weights_path(study, "sockets"))
    read = ScanEncoder.load(aae, scan_encoder_path(study))
    read.save(cards.weights_path(study, "sockets-scans"))
