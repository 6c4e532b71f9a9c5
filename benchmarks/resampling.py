"""Resample trees of shapes by one process and by one for each core: speed, cores, memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import trimesh

from aaelib.shapes import folders, places

FACES = (1_000, 50_000)
DISTINCT = 250  # meshes of the synthetic tree; the others are links to them
LIMIT = 2.0  # GB, of all processes together

_RUN = """
import json, sys
from aaelib.shapes.resampling import resample_tree
done = resample_tree(sys.argv[1], sys.argv[2], workers=int(sys.argv[3]))
print(json.dumps([len(done.written), len(done.refused), done.seconds]))
"""


def run(n_meshes, processor):
    """
    Resample ModelNet, where there is one, and a synthetic tree.

    Parameters
    ----------
    n_meshes : int
        Of the synthetic tree.
    processor : str
        What to say that it was measured on.

    Returns
    -------
    str
        Markdown.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        trees = {}
        if published := places.published_folders("ModelNet40*", "ModelNet10*"):
            trees["ModelNet"] = _linked(folder / "ModelNet", published)
            trees["meshes"] = _as_meshes(folder / "ModelNet", folder / "meshes")
        trees["synthetic"] = _synthetic(folder / "synthetic", n_meshes)
        for name, description in trees.items():
            lines += _measured(folder, name, description, sorted({1, cores}))
    return f"{_HEAD}\n" + "\n".join(lines) + f"\n\n{_NOTE} *{processor}, {cores} cores*\n"


def _measured(folder, name, description, workers):
    """Lines of the table for a tree, by each number of workers."""
    lines, slowest, clouds = [], None, None
    for n in workers:
        target = folder / f"{name} {n}"
        written, refused, seconds, busy, memory = _watched(folder / name, target, n)
        rate = written / seconds
        slowest = slowest or rate
        same = clouds is None or clouds == _content(target)
        clouds = clouds or _content(target)
        if not same:
            raise AssertionError(f"clouds of {name} depend on the number of workers ({n})")
        verdict = "met" if memory < LIMIT else "**missed**"
        lines.append(
            f"| {description} | {n} | {written} | {refused} | {rate:.1f} | {rate / slowest:.2f} | "
            f"{busy:.2f} | {memory:.2f} ({verdict}) |"
        )
    return lines


def _watched(source, target, workers):
    """
    Resample in a process of its own, and watch it and all that it starts.

    Returns
    -------
    written, refused : int
    seconds : float
        As `resample_tree` counts them, its processes' start among them.
    busy : float
        Cores in use in the mean: processor time of all processes over time on the clock.
    memory : float
        Gigabytes, the most that all processes had resident together; pages that they share count
        for each of them.
    """
    command = [sys.executable, "-c", _RUN, str(source), str(target), str(workers)]
    start, used, peak = time.perf_counter(), {}, 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        first = psutil.Process(process.pid)
        while process.poll() is None:
            resident = 0
            for each in _with_children(first):
                try:
                    times = each.cpu_times()
                    used[each.pid] = times.user + times.system
                    resident += each.memory_info().rss
                except psutil.Error:  # it has just ended
                    continue
            peak = max(peak, resident)
            time.sleep(0.05)
        seconds = time.perf_counter() - start
        if process.returncode:
            raise RuntimeError(f"resampling {source} ended with {process.returncode}")
        written, refused, resampling = json.loads(process.stdout.read())
    return written, refused, resampling, sum(used.values()) / seconds, peak / 1e9


def _with_children(process):
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _content(folder):
    return {
        file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("[!.]*.npy"))
    }


def _linked(folder, published):
    """A tree of links to published shapes; what it is, in words."""
    folder.mkdir()
    for place in published:
        (folder / place.name).symlink_to(place.resolve(), target_is_directory=True)
    files = folders.find(folder)
    n_clouds = sum(file.suffix == ".npy" for file in files)
    names = " + ".join(place.name for place in published)
    return f"{names}: {len(files) - n_clouds} meshes, {n_clouds} clouds, which are copied"


def _as_meshes(source, folder):
    """A tree of the same shapes, of clouds a small box around every point; in words."""
    for file in folders.find(source):
        mesh = folder / file.relative_to(source).with_suffix(".off")
        mesh.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix != ".npy":
            mesh.symlink_to(file.resolve())
            continue
        points = np.load(file, allow_pickle=False).astype(float)
        boxes = trimesh.voxel.ops.multibox(points, pitch=np.ptp(points, axis=0).max() / 64)
        boxes.export(mesh.with_suffix(".ply"))
    return "the same, clouds as meshes: a small box around each point, 24,576 faces"


def _synthetic(folder, n_meshes):
    """Write a tree of bumpy spheres in ten classes; what it is, in words."""
    rng = np.random.default_rng(0)
    wanted = np.exp(rng.uniform(*np.log(FACES), min(DISTINCT, n_meshes)))
    files, counts = [], []
    for i, n_faces in enumerate(wanted):
        file = folder / f"class_{i % 10}" / "train" / f"{i:04}{('.off', '.ply', '.stl')[i % 3]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        mesh = _bumpy_sphere(n_faces, rng)
        mesh.export(file)
        files.append(file)
        counts.append(len(mesh.faces))
    for i in range(len(files), n_meshes):
        file = files[i % len(files)]
        os.link(file, file.with_name(f"{i:04}{file.suffix}"))
    return (
        f"{n_meshes} bumpy spheres of {min(counts):,} to {max(counts):,} faces "
        f"(median {int(np.median(counts)):,}), OFF, PLY and STL"
    )


def _bumpy_sphere(n_faces, rng):
    # 8 n (n - 2) faces, n at least 13 and at most 80.
    n_rings = int(np.clip(1 + (1 + n_faces / 8) ** 0.5, 13, 80))
    sphere = trimesh.creation.uv_sphere(count=[n_rings, 2 * n_rings])
    bumps = np.sin(sphere.vertices @ rng.normal(0, 3, (3, 4)) + rng.uniform(0, 6, 4)).sum(axis=1)
    sphere.vertices *= (1 + 0.1 * bumps)[:, None]
    return sphere


_HEAD = """# Resampling trees of shapes

| tree | workers | written | refused | shapes a second | times faster | cores busy | memory, GB |
|:--|--:|--:|--:|--:|--:|--:|--:|"""
_NOTE = f"""`aaelib.shapes.resample_tree`, 2048 points of each shape, started in a process of its
own for each line, one after the other. Cores busy: processor time of all processes over time on
the clock, imports and the processes' start included. Memory: the most that all processes have
resident together, pages that they share counted for each; it is to be below {LIMIT:g} GB. Clouds
are the same, bit for bit, for any number of workers. Of the synthetic tree {DISTINCT} meshes at
most are distinct, the others links to them."""
