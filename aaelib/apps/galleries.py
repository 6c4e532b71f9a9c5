"""Galleries of decoded sockets: along paths through the latent space, and after changes."""

import numpy as np

from ..shapes.sockets import vertex_values
from ..study import figures
from .design import change_size, decoded_surface
from .explorer import departure
from .posterior import departures


def sockets(surfaces, titles=None, columns=5):
    """Figure of surfaces side by side, on coarser grids so that files stay small."""
    return figures.mesh_gallery([s.coarse().mesh() for s in surfaces], titles, columns)


def paths(aae, codes):
    """
    Figure of the sockets along paths through the latent space.

    `codes` has a path's title -> its codes (steps, code_size): a row each, equally many steps.
    """
    steps = len(next(iter(codes.values())))
    titles = [f"{title} {share:.0%}" for title in codes for share in np.linspace(0, 1, steps)]
    surfaces = [decoded_surface(aae, code) for path in codes.values() for code in path]
    return sockets(surfaces, titles, steps)


def slider(aae, codes):
    """Figure of the socket of one of the codes (steps, code_size), which a slider chooses."""
    meshes = [decoded_surface(aae, code).coarse().mesh() for code in codes]
    shares = [f"{share:.0%}" for share in np.linspace(0, 1, len(codes))]
    return figures.interpolation(meshes, shares)


def changed_lengths(aae, code, changes):
    """
    Figure of a code's socket with other lengths (`design.change_size`), its other sizes held.

    Titles have each wanted change (mm) and the one that was measured; colours show how far the
    wall moved, mm, positive outwards.
    """
    start = decoded_surface(aae, code)
    length = start.measure()["length_mm"]
    surfaces = [decoded_surface(aae, change_size(aae, code, "length_mm", by)) for by in changes]
    measured = [surface.measure()["length_mm"] - length for surface in surfaces]
    pairs = zip(changes, measured, strict=True)
    titles = [f"wanted {wanted:+d} mm, measured {found:+.1f} mm" for wanted, found in pairs]
    coarse = [surface.coarse() for surface in surfaces]
    meshes, moved = zip(*[(each.mesh(), departure(each, start)) for each in coarse], strict=True)
    return figures.mesh_gallery(meshes, titles, len(meshes), moved, "mm")


def left_open(found, n=8):
    """
    Figure of a `posterior.Posterior`: where the wall is uncertain, and alternative sockets.

    First the mean socket, coloured by half the width of the wall's 90 % intervals, mm; then `n`
    alternatives in the colour of their own distance from it, mm.
    """
    chosen = found.alternatives(n)
    others = [found.surfaces[i].coarse() for i in chosen]
    away = departures(found.mean.coarse(), others, stand=not found.in_place)
    values = [found.uncertainty, *np.nan_to_num(np.abs(away))]
    titles = ["± mm, 90 %", *(f"alternative {i + 1}" for i in range(len(chosen)))]
    meshes = [each.mesh() for each in (found.mean, *others)]
    limit = float(np.nanquantile(values[0], 0.99))
    return figures.mesh_gallery(meshes, titles, 3, values, "mm", (0.0, limit))


def limb_gaps(fitted):
    """Figure of both sockets of a `limbs.LimbFit`, coloured by gap minus clearance, mm."""
    titles = [
        f"model: mean error {fitted.model_error:.2f} mm",
        f"model and displacement: mean error {fitted.gap_error:.2f} mm",
    ]
    meshes = [fitted.model_surface.mesh(), fitted.surface.mesh()]
    gaps = fitted.model_gap, fitted.gap
    off = [np.nan_to_num(vertex_values(gap - fitted.clearance)) for gap in gaps]
    return figures.mesh_gallery(meshes, titles, 2, off, "mm")
