"""What is timed: ours first, then what it is compared with, and the least time that it can take."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise

import numpy as np

BATCH, POINTS, STEPS = 32, 2048, 20


@dataclass(frozen=True)
class Row:
    """
    A line of the table.

    Parameters
    ----------
    title : str
    unit : str
        What one unit of work is.
    contenders : dict
        Name -> function that prepares and gives what is timed; the first one is ours.
    units : dict
        Name -> units of work in one call; 1 where it is not said.
    targets : dict
        Name of a contender -> how many times faster ours shall be; "ms" -> how long ours may take;
        "GB" -> how much memory its process may take.
    work : callable, optional
        Gives the operations and the bytes that a unit of ours, computed as it is, takes at least.
    memory : bool
        Whether to find the memory that each takes.
    """

    title: str
    unit: str
    contenders: dict
    units: dict = field(default_factory=dict)
    targets: dict = field(default_factory=dict)
    work: Callable | None = None
    memory: bool = False

    def per_unit(self, name):
        return self.units.get(name, 1)


@dataclass(frozen=True)
class Growth:
    """How the time of ours, a unit of work, grows with something."""

    title: str
    unit: str
    parameter: str
    values: tuple
    prepare: Callable  # value -> what is timed
    units: Callable = lambda value: 1
    targets: dict = field(default_factory=dict)  # of the last value


# Shapes -----------------------------------------------------------------------------------------


@cache
def sockets(n=BATCH, n_points=POINTS, first_seed=0):
    """Evenly spread points on sockets (n, n_points, 3), normalized, no two clouds the same."""
    from aaelib.shapes import sources
    from aaelib.shapes.clouds import normalize
    from aaelib.shapes.sockets import fit_surfaces

    surfaces = fit_surfaces(sources.load_sockets("TT", limit=8).points)
    points = [surfaces[i % 8].sample(n_points, seed=first_seed + i) for i in range(n)]
    return normalize(np.stack(points))[0].astype(np.float32)


def other_sockets(n=BATCH, n_points=POINTS):
    return sockets(n, n_points, first_seed=n)


# Training ---------------------------------------------------------------------------------------


def model(name, **changes):
    """An untrained model of a recipe."""
    from aaelib.models import autoencoder, recipes

    aae = autoencoder.AdversarialAutoencoder(recipes.recipe(name, **changes))
    aae.compile()
    return aae


def step(name, n_points=POINTS, batch=BATCH, **changes):
    """A training step of a recipe on one batch."""
    import tensorflow as tf

    points = tf.constant(sockets(batch, n_points))
    train_step = tf.function(model(name, n_points=n_points, **changes).train_step)
    return lambda: train_step(points)


def original_step(n_points=POINTS, batch=BATCH):
    import tensorflow as tf

    from .original import TrainingStep

    points, original = tf.constant(sockets(batch, n_points)), TrainingStep(n_points)
    return lambda: original(points)


def steps(fed):
    """Training steps of the compact recipe, on fresh batches or on one again and again."""
    import tensorflow as tf

    from aaelib.models import batches, training
    from aaelib.shapes import sources
    from aaelib.shapes.shape_model import ShapeModel
    from aaelib.shapes.sockets import fit_surfaces

    scans = sources.load_sockets("TT", limit=20).points
    shape_model = ShapeModel.fit(fit_surfaces(scans))
    train_step = tf.function(model("compact").train_step)
    settings = training.Settings(
        batch_size=BATCH, shape_models=[shape_model], share=0.8, jitter=0.01, rotate=True
    )
    batches = iter(batches.batches(scans, 200.0, settings)(0, 10**6))
    one = next(batches)

    def run():
        # Many, or all batches would be drawn while something else is timed.
        for _ in range(STEPS):
            train_step(next(batches) if fed else one)

    return run


def step_work(name, **changes):
    """Operations and bytes of a cloud in a training step as ours computes it."""
    import tensorflow as tf

    from aaelib.models import networks

    aae = model(name, **changes)
    recipe = aae.recipe
    seen = recipe.encoder_points or recipe.n_points
    part = tf.constant(sockets()[:, :: POINTS // seen])
    critical = networks.critical_points(aae.encoder, part).shape[1]
    widths = [3, *recipe.encoder]
    per_point = sum(a * b for a, b in pairwise(widths))
    if recipe.tnets:
        # The first transform net is one product of 3 x 1024, the second goes through 64 features.
        inside = recipe.encoder[1]
        per_point += 3 * 1024 + inside * 64 + 64 * 1024 + 9 + inside**2
    passes = 1 if recipe.shared_pass else 2
    # Two operations a weight; a backward pass takes twice a forward pass.
    encoder = passes * 2 * per_point * (seen + 3 * critical)
    decoder = 3 * 2 * sum(int(np.prod(w.shape)) for w in aae.decoder.weights if w.ndim > 1)
    # Adam reads weight, gradient and two moments, and writes three of them.
    weights = sum(int(np.prod(w.shape)) for w in aae.trainable_variables)
    return encoder + decoder + chamfer_work(recipe.n_points)[0], 7 * 4 * weights / BATCH


# Distances --------------------------------------------------------------------------------------


def chamfer(loss, n_points=POINTS):
    """A loss and its gradient on a batch."""
    import tensorflow as tf

    points, others = (
        tf.constant(sockets(BATCH, n_points)),
        tf.constant(other_sockets(BATCH, n_points)),
    )

    @tf.function
    def both():
        with tf.GradientTape() as tape:
            tape.watch(others)
            value = tf.reduce_mean(loss(points, others))
        return value, tape.gradient(value, others)

    return both


def our_chamfer(n_points=POINTS):
    from aaelib.models.losses import chamfer_loss

    return chamfer(chamfer_loss, n_points)


def broadcast_chamfer():
    from .original import broadcast_chamfer

    return chamfer(broadcast_chamfer)


def tree_chamfer():
    """Our loss, but for the neighbours: from SciPy's k-d trees, as fast as they can be made."""
    from concurrent.futures import ThreadPoolExecutor

    import tensorflow as tf
    from scipy.spatial import cKDTree

    from aaelib.models.losses import matched_loss

    pool = ThreadPoolExecutor()

    def query(x, y):
        return cKDTree(y, leafsize=32, balanced_tree=False).query(x)[1].astype(np.int32)

    def search(a, b):
        return np.stack(list(pool.map(query, a, b)))

    def loss(a, b):
        to_b = tf.numpy_function(search, [a, b], tf.int32, stateful=False)
        to_a = tf.numpy_function(search, [b, a], tf.int32, stateful=False)
        return matched_loss(a, b, to_b, to_a, "mean")

    return chamfer(loss)


def chamfer_work(n_points=POINTS):
    """All pairs: 3 differences, 3 squares, 2 sums, once for both ways; the points are read."""
    return 8 * n_points**2, 2 * 3 * 4 * n_points


def all_pairs(n=100, n_points=POINTS):
    from aaelib.metrics.distances import pairwise_chamfer

    a, b = sockets(n, n_points), other_sockets(n, n_points)
    return lambda: pairwise_chamfer(a, b)


def looped_pairs(n):
    from .original import loop_over_pairs

    a, b = sockets(n), other_sockets(n)
    return lambda: loop_over_pairs(a, b)


def peer_pairs(n):
    import point_cloud_utils

    a, b = sockets(n).astype(float), other_sockets(n).astype(float)
    return lambda: [point_cloud_utils.chamfer_distance(x, y) for x in a for y in b]


def torch_pairs(n):
    import torch

    a, b = (torch.from_numpy(clouds) for clouds in (sockets(n), other_sockets(n)))

    def chamfer(x, y):
        distances = torch.cdist(x, y)
        return distances.min(0).values.square().mean() + distances.min(1).values.square().mean()

    return lambda: [float(chamfer(x, y)) for x in a for y in b]


def earth_movers(n_points):
    from aaelib.metrics.distances import earth_movers_distance

    a, b = sockets(2, n_points), other_sockets(2, n_points)
    return lambda: earth_movers_distance(a, b)


# Metrics, meshes, models ------------------------------------------------------------------------


def divergence(function=None):
    from aaelib.metrics.generative import jensen_shannon_divergence

    a, b = sockets(200), other_sockets(200)
    return lambda: (function or jensen_shannon_divergence)(a, b)


def original_divergence():
    from . import original

    return divergence(original.divergence)


@cache
def mesh():
    """An ellipsoid of 20,480 faces."""
    import trimesh

    return trimesh.creation.icosphere(subdivisions=5).apply_scale([1, 1, 2])


def even():
    from aaelib.shapes.clouds import resample

    surface = mesh()
    return lambda: resample(surface, POINTS)


def uniform():
    from trimesh.sample import sample_surface

    surface = mesh()
    return lambda: sample_surface(surface, POINTS, seed=0)


def peer_even():
    import point_cloud_utils

    vertices, faces = np.asarray(mesh().vertices), np.asarray(mesh().faces)
    return lambda: point_cloud_utils.sample_mesh_poisson_disk(vertices, faces, POINTS)


def decoding(method):
    aae = model("compact")
    code = aae.draw_prior(1)
    if method == "predict":
        return lambda: aae.decoder.predict(code, verbose=0)
    return lambda: aae.decode(code)


def decoding_work():
    """Each weight is read and used for one product and one sum."""
    weights = model("compact").decoder.count_params()
    return 2 * weights, 4 * weights


def completing(how):
    """A scan with 30 % missing: in one pass, or searched from what is read or from linear means."""
    from aaelib.apps import completion
    from aaelib.models import in_numpy, scans
    from aaelib.shapes import sources
    from aaelib.shapes.places import DATA
    from aaelib.shapes.scanning import Spoiling, scan
    from aaelib.shapes.shape_model import ShapeModel

    cloud = sources.load_sockets("TT", limit=1).points[0]
    how_spoilt = Spoiling(0.3, noise=1.0, outliers=0.03, n_points=1024)
    points = scan(cloud - cloud.mean(axis=0), how_spoilt, np.random.default_rng(0)).points
    if how == "linear":
        models = [ShapeModel.load(DATA / "sockets" / f"{kind}.npz") for kind in sources.KINDS]
        linear = [completion.Linear.of(model, 16) for model in models]
        starts = [
            start for each in linear for start in completion.turned(points, each, each.middle)
        ]
        return lambda: completion.search(points, starts, completion.FROM_MEANS)
    aae = in_numpy.load("sockets")
    encoder = scans.beside(aae, "sockets")
    if how == "one pass":
        return lambda: completion.as_read(aae, points, encoder)[0].cloud
    return lambda: completion.search(
        points, completion.as_read(aae, points, encoder), completion.FROM_READ
    )


def importing(package):
    return lambda: subprocess.run([sys.executable, "-c", f"import {package}"], check=True)


# The table --------------------------------------------------------------------------------------

ROWS = {
    "three-updates": Row(
        "Training step, original architecture, three updates",
        "cloud",
        {"aaelib": partial(step, "paper"), "original scheme": original_step},
        {"aaelib": BATCH, "original scheme": BATCH},
        {"original scheme": 3, "GB": 2.5},
        partial(step_work, "paper"),
        memory=True,
    ),
    "shared-pass": Row(
        "Training step, original architecture, one backward pass",
        "cloud",
        {"aaelib": partial(step, "paper", shared_pass=True), "original scheme": original_step},
        {"aaelib": BATCH, "original scheme": BATCH},
        {"original scheme": 4, "GB": 2.5},
        partial(step_work, "paper", shared_pass=True),
        memory=True,
    ),
    "compact": Row(
        "Training step, compact recipe, a smaller network",
        "cloud",
        {"aaelib": partial(step, "compact"), "original scheme": original_step},
        {"aaelib": BATCH, "original scheme": BATCH},
        {"original scheme": 10},
        partial(step_work, "compact"),
        memory=True,
    ),
    "pipeline": Row(
        "Training step on drawn and jittered shapes",
        "cloud",
        {"aaelib": partial(steps, True), "one batch again and again": partial(steps, False)},
        {"aaelib": STEPS * BATCH, "one batch again and again": STEPS * BATCH},
    ),
    "precision": Row(
        "Training step, compact recipe, mixed_bfloat16",
        "cloud",
        {
            "aaelib": partial(step, "compact", precision="mixed_bfloat16"),
            "float32": partial(step, "compact"),
        },
        {"aaelib": BATCH, "float32": BATCH},
    ),
    "chamfer": Row(
        "Chamfer loss, forward and backward",
        "cloud",
        {
            "aaelib": our_chamfer,
            "broadcast form": broadcast_chamfer,
            "scipy k-d trees": tree_chamfer,
        },
        {"aaelib": BATCH, "broadcast form": BATCH, "scipy k-d trees": BATCH},
        {"broadcast form": 15},
        chamfer_work,
        memory=True,
    ),
    "all-pairs": Row(
        "All-pairs Chamfer, 100 x 100 clouds",
        "pair",
        {
            "aaelib": all_pairs,
            "original loop": partial(looped_pairs, 5),
            "point-cloud-utils": partial(peer_pairs, 10),
            **(
                {"torch.cdist": partial(torch_pairs, 10)}
                if importlib.util.find_spec("torch")
                else {}
            ),
        },
        {"aaelib": 10_000, "original loop": 25, "point-cloud-utils": 100, "torch.cdist": 100},
        {"original loop": 25, "point-cloud-utils": 2},
        chamfer_work,
        memory=True,
    ),
    "divergence": Row(
        "JSD, 200 against 200 clouds",
        "call",
        {"aaelib": divergence, "search and loop": original_divergence},
        targets={"search and loop": 200},
        # Three coordinates read and three operations each: shift, scale, round.
        work=lambda: (400 * POINTS * 9, 400 * POINTS * 12),
    ),
    "resample": Row(
        "Evenly spread points on 20,480 faces",
        "call",
        {
            "aaelib": even,
            "trimesh, uniform": uniform,
            "point-cloud-utils, Poisson disks": peer_even,
        },
        targets={"ms": 50},
    ),
    "decode": Row(
        "Decoding one socket",
        "call",
        {"aaelib": partial(decoding, "decode"), "Keras predict": partial(decoding, "predict")},
        targets={"ms": 5},
        work=decoding_work,
    ),
    "read-scan": Row(
        "Reading a scan in one pass",
        "call",
        {
            "aaelib": partial(completing, "one pass"),
            "refined by a search": partial(completing, "refined"),
        },
        targets={"ms": 50},
    ),
    "complete-scan": Row(
        "Completing a scan, refined",
        "call",
        {
            "aaelib": partial(completing, "refined"),
            "linear shape models, as long": partial(completing, "linear"),
        },
        targets={"ms": 1000},
    ),
    "import": Row(
        "import aaelib, a Python process",
        "call",
        {
            "aaelib": partial(importing, "aaelib"),
            "import tensorflow": partial(importing, "tensorflow"),
        },
        targets={"ms": 300},
    ),
}

GROWTH = {
    "step-batch": Growth(
        "Training step, compact recipe", "cloud", "clouds in a batch", (8, 16, 32, 64, 128),
        lambda batch: step("compact", batch=batch), lambda batch: batch,
    ),
    "step-points": Growth(
        "Training step, compact recipe", "cloud", "points", (512, 1024, 2048, 4096, 8192),
        partial(step, "compact"), lambda points: BATCH, {"GB": 6},
    ),
    "original-points": Growth(
        "Training step, original architecture, three updates", "cloud", "points",
        (512, 1024, 2048, 4096, 8192), partial(step, "paper"), lambda points: BATCH, {"GB": 6},
    ),
    "original-batch": Growth(
        "Training step, original architecture, three updates", "cloud", "clouds in a batch",
        (8, 32, 128), lambda batch: step("paper", batch=batch), lambda batch: batch,
    ),
    # What fits in memory: it keeps the differences of all pairs of points.
    "scheme-points": Growth(
        "Training step, original scheme", "cloud", "points",
        (512, 1024, 2048), original_step, lambda points: BATCH,
    ),
    "scheme-batch": Growth(
        "Training step, original scheme", "cloud", "clouds in a batch",
        (8, 32), lambda batch: original_step(batch=batch), lambda batch: batch,
    ),
    "chamfer-points": Growth(
        "Chamfer loss, forward and backward", "cloud", "points", (512, 1024, 2048, 4096, 8192),
        our_chamfer, lambda points: BATCH,
    ),
    "pairs-set": Growth(
        "All-pairs Chamfer", "pair", "clouds in either set", (25, 50, 100, 200),
        all_pairs, lambda n: n**2,
    ),
    "pairs-points": Growth(
        "All-pairs Chamfer of 4 x 4 clouds", "pair", "points",
        (512, 1024, 2048, 4096, 8192, 16384, 32768), partial(all_pairs, 4), lambda points: 16,
    ),
    "earth-mover": Growth(
        "Earth mover's distance", "pair", "points", (256, 512, 1024, 2048),
        earth_movers, lambda points: 2,
    ),
}  # fmt: skip


def evenness():
    """
    Chamfer distance of a socket's cloud from a resampling of its surface, even over uniform.

    Returns
    -------
    ratio : float
        Mean over sockets.
    worst : float
    """
    from trimesh.sample import sample_surface

    from aaelib.metrics.reconstruction import reconstruction_chamfer
    from aaelib.shapes import sources
    from aaelib.shapes.clouds import resample
    from aaelib.shapes.sockets import fit_surfaces

    shapes = sources.load_sockets(limit=20)
    meshes = [surface.mesh() for surface in fit_surfaces(shapes.points)]
    evenly = np.stack([resample(m, POINTS, seed=i) for i, m in enumerate(meshes)])
    uniformly = np.stack([sample_surface(m, POINTS, seed=i)[0] for i, m in enumerate(meshes)])
    each = [reconstruction_chamfer(shapes.points, points) for points in (evenly, uniformly)]
    ratios = each[0] / each[1]
    return float(ratios.mean()), float(ratios.max())
