"""Tables of what people do with a trained model: directions, sockets made to measure, walls."""

from itertools import product

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from tqdm.auto import tqdm

from ..metrics.reconstruction import surface_distance
from . import design


def directions(found):
    """
    What directions of single sizes do where they were tried.

    Parameters
    ----------
    found : dict
        Kind of the socket -> what `design.attribute_directions` gave there.

    Returns
    -------
    pandas.DataFrame
        Indexed by kind: "size", its name, "value", "effect", "leak" (the largest of the others),
        both as in `design.AttributeDirection`, and "reliability".
    """
    rows = [
        {"kind": kind, "size": name, "value": d.value, "effect": d.effect}
        | {"leak": max(map(abs, d.leak.values()), default=np.nan), "reliability": d.reliability}
        for kind, by_name in found.items()
        for name, d in by_name.items()
    ]
    return pd.DataFrame(rows).set_index("kind")


def made_to_measure(aae, surfaces, spacing=30.0):
    """
    Sockets designed for nothing but the length and the perimeters of given ones.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    surfaces : sequence of SocketSurface
    spacing : float
        Of the perimeters' heights, mm.

    Returns
    -------
    pandas.DataFrame
        A row each: "length_mm", by how much the length is missed; "perimeter", by which share the
        worst of the perimeters is; "surface_mm", mean distance of the design's vertices to the
        given surface, centroids on each other; "distance", of the code (`design.Design`).
    """
    draws = design.population(aae)
    rows = []
    for surface in tqdm(surfaces, desc="designs", leave=False):
        sizes = surface.measure(spacing)
        perimeters = dict(zip(sizes["heights_mm"], sizes["perimeters_mm"], strict=True))
        wanted = {"length_mm": sizes["length_mm"], "perimeters_mm": perimeters}
        made = design.fit(aae, wanted, nearest=True, draws=draws)
        missed = made.shortfalls["perimeters_mm"]
        vertices, mesh = made.surface.mesh().vertices, surface.mesh()
        placed = vertices - vertices.mean(axis=0) + mesh.vertices.mean(axis=0)
        rows.append(
            {
                "length_mm": abs(made.shortfalls["length_mm"]),
                "perimeter": max(abs(missed[h]) / perimeters[h] for h in perimeters),
                "surface_mm": surface_distance(placed, mesh).mean(),
                "distance": made.distance,
            }
        )
    return pd.DataFrame(rows).rename_axis("socket")


def walls(surfaces, thicknesses=(3.0, 4.0, 6.0), near_mm=0.3):
    """
    What walls to print around sockets are like.

    Parameters
    ----------
    surfaces : sequence of SocketSurface
    thicknesses : sequence of float
        mm.
    near_mm : float
        How far the thickness may be off.

    Returns
    -------
    pandas.DataFrame
        A row for each socket and "thickness_mm": "watertight", "volume_cm3", and "near", the share
        of the outer wall's vertices that are that near to the thickness, those at less than two
        thicknesses from the brim left out.
    """
    rows = []
    for (i, surface), thickness in product(enumerate(surfaces), thicknesses):
        shell, inner = surface.shell(thickness), surface.mesh()
        # The inner wall comes first, then the outer one, vertex by vertex.
        outer = shell.vertices[len(inner.vertices) : 2 * len(inner.vertices)]
        away = cKDTree(surface.vertices[:, -1]).query(outer)[0] > 2 * thickness
        error = np.abs(surface_distance(outer[away], inner) - thickness)
        rows.append(
            {"socket": i, "thickness_mm": thickness, "watertight": shell.is_watertight}
            | {"volume_cm3": shell.volume / 1e3, "near": float((error <= near_mm).mean())}
        )
    return pd.DataFrame(rows).set_index("socket")
