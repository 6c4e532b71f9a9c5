"""Tables of design with a trained model: directions, sockets made to measure, walls."""

from itertools import product

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from tqdm.auto import tqdm

from ..metrics import surface_distance
from . import design

_THICKNESSES = (3.0, 4.0, 6.0)  # mm
_NEAR = 0.3  # mm by which a wall's thickness may be off


def directions(found):
    """
    Tabulate what directions do at the sockets where they were found.

    `found` has a socket's kind -> what `design.attribute_directions` gave there. Columns: "size",
    the attribute's name, and the fields of `design.AttributeDirection`, of "leak" the largest.
    """
    rows = [
        {"kind": kind, "size": name, "value": d.value, "effect": d.effect}
        | {"leak": max(map(abs, d.leak.values()), default=np.nan), "reliability": d.reliability}
        for kind, by_name in found.items()
        for name, d in by_name.items()
    ]
    return pd.DataFrame(rows).set_index("kind")


def made_to_measure(aae, surfaces):
    """
    Design sockets for the length and the perimeters, every 30 mm, of given surfaces; a row each.

    Columns: "length_mm", by how much the length is missed; "perimeter", by which share the worst of
    the perimeters is; "surface_mm", mean distance of the design's vertices from the given surface,
    centroids on each other; "distance", of the code (`design.Design`).
    """
    draws = design.population(aae)
    rows = []
    for surface in tqdm(surfaces, desc="designs", leave=False):
        sizes = surface.measure()
        perimeters = dict(zip(sizes["heights_mm"], sizes["perimeters_mm"], strict=True))
        wanted = {"length_mm": sizes["length_mm"], "perimeters_mm": perimeters}
        made = design.fit_sizes(aae, wanted, nearest=True, draws=draws)
        vertices, mesh = made.surface.mesh().vertices, surface.mesh()
        placed = vertices - vertices.mean(axis=0) + mesh.vertices.mean(axis=0)
        rows.append(
            {
                "length_mm": abs(made.shortfalls["length_mm"]),
                "perimeter": max(abs(made.shortfalls[h]) / p for h, p in perimeters.items()),
                "surface_mm": surface_distance(placed, mesh).mean(),
                "distance": made.distance,
            }
        )
    return pd.DataFrame(rows).rename_axis("socket")


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
