"""Tables of design with a trained model: directions, made to measure, limbs, walls."""

from itertools import product

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from tqdm.auto import tqdm

from ..metrics import surface_distance
from . import design
from .posterior import Misfit, departures, given_sizes, given_sizes_linear, told

NETWORK, SHAPE_MODEL = "network", "shape model"  # what makes sockets to measure

# Numbers are heights of perimeters, mm. The length is always told.
TOLD, UNTOLD = (60.0, 120.0), (90.0, "volume_mm3", "brim_height_mean_mm")
LEVELS, _ENDS, DRAWS = (0.5, 0.8, 0.95), (0.05, 0.95), 100

_THICKNESSES = (3.0, 4.0, 6.0)  # mm
_NEAR = 0.3  # mm by which a wall's thickness may be off


def directions(found):
    """
    Tabulate what directions do at the sockets where they were found.

    `found` has a socket's kind -> what `design.attribute_directions` gave there. Columns: "size",
    the attribute's name; "value", "wanted", "measured" and "reliability" of its
    `design.AttributeDirection`; "leak", the largest there, without its sign.
    """
    rows = [
        {"kind": kind, "size": name, "value": d.value, "wanted": d.wanted, "measured": d.measured}
        | {"leak": max(map(abs, d.leak.values()), default=np.nan), "reliability": d.reliability}
        for kind, by_name in found.items()
        for name, d in by_name.items()
    ]
    return pd.DataFrame(rows).set_index("kind")


def limb(fitted):
    """
    Tabulate how far a `limbs.LimbFit` is from the wanted gap, mm.

    Rows: the model alone, and the socket with its displacement. Columns: "mean" and quantiles.
    """
    found = {"model alone": fitted.model_errors, "with displacement": fitted.errors}
    table = pd.DataFrame(found).T.rename_axis("socket")
    return table.rename(columns=lambda name: name if name == "mean" else f"{name:.0%}")


def made_to_measure(aae, shape_models, surfaces):
    """
    Design sockets for the length and the perimeters, every 30 mm, of given surfaces.

    Parameters
    ----------
    aae : AdversarialAutoencoder
        With "dataset" normalization.
    shape_models : dict of str to ShapeModel
        Kind -> model, for the baseline.
    surfaces : sequence of SocketSurface

    Returns
    -------
    pandas.DataFrame
        A row for each socket by `NETWORK` (`design.fit_sizes`) and by `SHAPE_MODEL`
        (`design.condition_on_sizes`). "length_mm": error of the length; "perimeter": largest error
        of a perimeter, as a share of it; "surface_mm": mean distance between the design and the
        given surface, over the vertices of both, centroids on each other; "distance":
        `design.Design.distance`.
    """
    draws, rows = design.population(aae), []
    for i, surface in enumerate(tqdm(surfaces, desc="designs", leave=False)):
        wanted = told(surface, surface.measure()["heights_mm"])
        perimeters = wanted["perimeters_mm"]
        found = {
            NETWORK: design.fit_sizes(aae, wanted, nearest=True, draws=draws),
            SHAPE_MODEL: design.condition_on_sizes(shape_models, wanted),
        }
        rows += [
            {
                "model": name,
                "socket": i,
                "length_mm": abs(made.shortfalls["length_mm"]),
                "perimeter": max(abs(made.shortfalls[h]) / p for h, p in perimeters.items()),
                "surface_mm": _distance_between(made.surface.mesh(), surface.mesh()),
                "distance": made.distance,
            }
            for name, made in found.items()
        ]
    return pd.DataFrame(rows).set_index(["model", "socket"]).sort_index()


def misfits(aae, shape_models, shapes, surfaces):
    """
    `posterior.Misfit` of the network and of shape models, on sockets that neither has learnt from.

    `shapes` are their clouds. Returns a dict by `NETWORK` and `SHAPE_MODEL`.
    """
    decoded = [design.decoded_surface(aae, code) for code in aae.encode(shapes.points)]
    pairs = zip(shapes.kinds, surfaces, strict=True)
    fitted = [shape_models[kind].reconstruct(surface) for kind, surface in pairs]
    return {NETWORK: Misfit(decoded, surfaces), SHAPE_MODEL: Misfit(fitted, surfaces)}


def left_open(aae, shape_models, misfit, surfaces):
    """
    Count how often intervals for sizes that were not told hold the true ones.

    Parameters
    ----------
    aae, shape_models
        As for `made_to_measure`.
    misfit : dict
        From `misfits`.
    surfaces : sequence of SocketSurface
        Told are their lengths and their perimeters at `TOLD`.

    Returns
    -------
    pandas.DataFrame
        A row for each model and size, "wall" for all vertices of the mean wall that are below the
        brims. "50%", "80%", "95%": the share of sockets or vertices that are inside the central
        intervals of these levels, best equal to them. "half": mean half width of the intervals of
        90 %, in the size's unit. "n": how many sockets.
    """
    draws, rows = design.population(aae), []
    for surface in tqdm(surfaces, desc="what sizes leave open", leave=False):
        wanted = told(surface, TOLD)
        found = {
            NETWORK: given_sizes(aae, wanted, DRAWS, misfit=misfit[NETWORK], draws=draws),
            SHAPE_MODEL: given_sizes_linear(
                shape_models, wanted, DRAWS, misfit=misfit[SHAPE_MODEL]
            ),
        }
        names = design.below_brim(surface, UNTOLD)
        real = design.measured(surface, names)
        for model, each in found.items():
            drawn, walls = each.sizes(names), each.wall_draws()
            wall = departures(each.mean, [surface])[0]
            there = np.isfinite(wall) & np.isfinite(walls).all(axis=0)
            parts = {name: (drawn[:, [i]], real[i]) for i, name in enumerate(names)}
            for name, (values, true) in (parts | {"wall": (walls[:, there], wall[there])}).items():
                label = name if isinstance(name, str) else f"perimeter at {name:g} mm"
                rows.append({"model": model, "size": label} | inside(values, true))
    table = pd.DataFrame(rows).groupby(["model", "size"], sort=False)
    return table.mean().assign(n=table.size())


def inside(drawn, true):
    """
    Count how often central intervals of draws (n, n_values) hold true values (n_values,).

    Returns a dict: "50%", "80%", "95%": the share that is inside; "half": mean half width at 90 %.
    """
    # The level of the smallest central interval that holds a value.
    central = np.abs(2 * np.mean(drawn < true, axis=0) - 1)
    shares = {f"{level:.0%}": np.mean(central <= level) for level in LEVELS}
    return shares | {"half": np.ptp(np.quantile(drawn, _ENDS, axis=0), axis=0).mean() / 2}


def _distance_between(a, b):
    """Mean distance of the vertices of two meshes from the other, centroids on each other, mm."""
    # Of areas: grids that differ in where nodes are dense have the same.
    a.apply_translation(b.centroid - a.centroid)
    ways = surface_distance(a.vertices, b), surface_distance(b.vertices, a)
    return float(np.mean([way.mean() for way in ways]))


def walls(surfaces):
    """
    Measure walls to print around sockets; a row for each socket and thickness.

    Columns: "thickness_mm"; "watertight"; "volume_cm3"; "near", the share of the outer wall's
    vertices where the thickness is off by 0.3 mm at most, those at less than two thicknesses from
    the brim left out.
    """
    rows = []
    for (i, surface), thickness in product(enumerate(surfaces), _THICKNESSES):
        shell, inner = surface.shell(thickness), surface.mesh()
        # The inner wall comes first, then the outer one, vertex by vertex.
        outer = shell.vertices[len(inner.vertices) : 2 * len(inner.vertices)]
        away = cKDTree(surface.vertices[:, -1]).query(outer)[0] > 2 * thickness
        error = np.abs(surface_distance(outer[away], inner) - thickness)
        rows.append(
            {"socket": i, "thickness_mm": thickness, "watertight": shell.is_watertight}
            | {"volume_cm3": shell.volume / 1e3, "near": float((error <= _NEAR).mean())}
        )
    return pd.DataFrame(rows).set_index("socket")
