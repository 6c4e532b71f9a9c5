"""Tables of design with a trained model: directions, made to measure, limbs, walls."""

from itertools import product

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from tqdm.auto import tqdm

from ..metrics import surface_distance
from . import design

NETWORK, SHAPE_MODEL = "network", "shape model"  # what makes sockets to measure

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
        sizes = surface.measure()
        perimeters = dict(zip(sizes["heights_mm"], sizes["perimeters_mm"], strict=True))
        wanted = {"length_mm": sizes["length_mm"], "perimeters_mm": perimeters}
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
