"""Outputs of a model or a socket: clouds, walls to print, measurements, weights."""

import re
from pathlib import Path

import numpy as np

from ..metrics import surface_distance
from ..models import in_numpy, latent, scans
from ..models.exported import SHIPPED, export_weights
from ..models.files import load
from ..models.runs import load_with_card
from ..shapes import folders, meshes, printing
from ..shapes.clouds import place
from ..shapes.sockets import SocketSurface, check_sockets
from ..shapes.writing import locked, replacing, write_array
from ..study import figures
from . import completion, design
from .posterior import given_scan

_PIECE = 0.02  # of a mesh's area: smaller pieces are crumbs


def generate(model, n, folder, seed=0, mesh=None, thickness=4.0, overwrite=False):
    """
    Write samples of the prior as clouds, and as walls to print where they are sockets.

    Parameters
    ----------
    model : str, Path, Run or AdversarialAutoencoder
        A `.keras` or `.npz` file, "sockets" or "pretrained", or what `train` gave.
    n : int
        How many, 1 or more.
    folder : str or Path
        For `sample_0000.npy`, ...: (n_points, 3) float32 around the origin, in the unit of the
        model's training shapes, or in the unit sphere with "unit-sphere" normalization.
    seed : int
        Of the draws; the first of more samples are those of fewer.
    mesh : {"stl", "3mf", "ply"}, optional
        Write closed walls in that format as well, for sockets in mm.
    thickness : float
        Of the walls, mm: above 0, up to 20.
    overwrite : bool
        Replace the samples that the folder holds; otherwise it must be empty.

    Returns
    -------
    files : list of Path
        What was written.
    refused : list of (Path, str)
        Walls that could not be made, and why; their clouds are written.

    Raises
    ------
    ValueError
        If an argument is out of range, or the model's shapes have no size.
    FileExistsError
        If the folder has files in it.
    RuntimeError
        If another process is writing into it.
    """
    if n < 1:
        raise ValueError(f"n is {n}; it must be 1 or more")
    aae = load_with_card(model)[0]
    files = [Path(folder, f"sample_{i:04d}.npy") for i in range(n)]
    return _write_shapes(aae, aae.sample(n, seed), files, mesh, thickness, overwrite)


def interpolate(model, a, b, folder, steps=5, mesh=None, thickness=4.0, overwrite=False):
    """
    Write shapes between two: clouds, and a page with a slider.

    Parameters
    ----------
    model : str, Path, Run or AdversarialAutoencoder
        As in `generate`.
    a, b : str or Path
        Files of a cloud or a mesh, in the unit and position of those that the model was trained on.
    folder : str or Path
        For `step_0.npy`, ..., as in `generate`, and `interpolation.html`, which needs no network.
    steps : int
        2 or more, the reconstructions of both ends included.
    mesh, thickness, overwrite
        As in `generate`.

    Returns
    -------
    files, refused
        As in `generate`.

    Raises
    ------
    ValueError
        If a file can't be read, or as in `generate`.
    FileExistsError
        If the folder has files in it.
    RuntimeError
        If another process is writing into it.
    """
    aae, card = load_with_card(model)[:2]
    ends = np.stack([folders.read(Path(file), aae.recipe.n_points) for file in (a, b)])
    codes = aae.encode(folders.placed(ends, (a, b), card.get("up"), card.get("unit")))
    clouds = aae.decode(latent.interpolate(*codes, steps))
    shares = [f"{share:.0%}" for share in np.linspace(0, 1, steps)]
    labels = [Path(a).stem, *shares[1:-1], Path(b).stem]
    page = figures.interpolation(clouds, labels), Path(folder, "interpolation.html")
    files = [Path(folder, f"step_{i}.npy") for i in range(steps)]
    return _write_shapes(aae, clouds, files, mesh, thickness, overwrite, page)


def export(
    source, path, thickness=4.0, smoothing=design.SMOOTHING, n_points=2048, up=None, unit=None
):
    """
    Write a socket as a wall to print or as its measures, or a model as its weights.

    Parameters
    ----------
    source : str or Path
        A cloud (`.npy`) or a mesh of a socket's inner surface, the closed end down; for weights a
        model (`.keras`).
    path : str or Path
        Its suffix says what is written: `.stl`, `.3mf` or `.ply` a closed wall, `.csv` measures,
        `.npz` a model's weights, without what training needs.
    thickness : float
        Of the wall, mm: above 0, up to 20.
    smoothing : float
        Of the surface through the points, 0 or more, see `SocketSurface.from_points`.
    n_points : int
        To fit the surface to, 100 or more; a cloud must have as many.
    up, unit : str, optional
        Of the source, see `clouds.place`; z and mm by default.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the file is missing, the file or the suffix is of another kind, the wall cannot be made,
        or, unless `up` or `unit` is given, the socket looks as if it were in another unit than mm,
        upside down, on its side, or a closed wall.

    Warns
    -----
    UserWarning
        If the socket looks so though `up` or `unit` is given.
    """
    path, is_model = Path(path), Path(source).suffix in (".keras", ".npz") or source in SHIPPED
    if path.suffix.lower() not in ((".npz",) if is_model else (*printing.FORMATS, ".csv")):
        raise ValueError(
            f"{source} can't be written as {path.name}: a model (.keras) is written as .npz, a "
            "socket's cloud or mesh as .stl, .3mf, .ply or .csv; `generate` makes clouds of a model"
        )
    if is_model:
        export_weights(load(source), path)
        return path
    _check_pieces(Path(source))
    points = place(folders.read(Path(source), n_points), up, meshes.unit_of(source, unit))
    check_sockets(points[None], [source], refuse=not (up or unit))
    surface = SocketSurface.from_points(points, smoothing=smoothing)
    return printing.write(surface, path, thickness)


def complete(model, source, path, thickness=4.0, up=None, unit=None):
    """
    Write the whole socket of a scan, where the scan is: see `completion.complete`.

    Parameters
    ----------
    model : str or Path
        "sockets", or a `.npz` or `.keras` file of a model of sockets.
    source : str or Path
        A cloud (`.npy`), a mesh, or the points of a mesh file without faces: of a socket's inner
        surface, its brim about upwards, parts of it missing or not.
    path : str or Path
        As for `export`; measures are those of the upright socket.
    thickness, up, unit
        As for `export`.

    Returns
    -------
    completion.Completion
    distance : float
        Median distance of the scan's points from the socket, mm.
    left : posterior.Posterior
        What the scan leaves open.

    Raises
    ------
    ValueError
        If a file is of another kind, the points are too few, or the wall cannot be made.

    Warns
    -----
    UserWarning
        If the scan looks as if it were in another unit than mm, upside down or on its side.
    """
    printing.checked_path(path, (*printing.FORMATS, ".csv"))
    aae = in_numpy.load(model)
    _check_pieces(Path(source))
    points = place(folders.read_points(Path(source)), up, meshes.unit_of(source, unit))
    check_sockets(points[None], [source], tilted=True)
    encoder = scans.beside(aae, model)
    found = completion.complete(aae, points, encoder, source)
    printing.write(found.surface, Path(path), thickness, found.motion)
    away = surface_distance(points, found.placed(found.surface.mesh()))
    left = given_scan(points, found, *completion.begun(aae, points, encoder))
    return found, float(np.median(away)), left


def _check_pieces(source):
    """Raise a ValueError if a mesh has several pieces, none of which is nearly all of it."""
    if source.suffix.lower() == ".npy":
        return
    shares = meshes.shares_of_pieces(meshes.read(source))
    if len(shares) > 1 and shares[1] > _PIECE:
        told = ", ".join(f"{share:.0%}" for share in shares[shares > _PIECE][:5])
        raise ValueError(f"{source}: pieces of {told} of its area; keep the socket alone")


def _write_shapes(aae, clouds, files, mesh, thickness, overwrite, page=None):
    """Write clouds, their walls, and a page; return the files, and the walls that failed."""
    if mesh:
        design.check_has_size(aae)
        if f".{mesh}" not in printing.FORMATS:
            formats = ", ".join(printing.FORMATS)
            raise ValueError(f"mesh is {mesh!r}; walls are written as {formats}")
        if not 0 < thickness <= printing.MAX_THICKNESS:
            most = printing.MAX_THICKNESS
            raise ValueError(f"thickness is {thickness} mm; a wall has more than 0, up to {most}")
    folder, written, refused = files[0].parent, [], []
    with locked(folder / "shapes"):
        if any(folder.glob("[!.]*")) and not overwrite:
            advice = "name another folder, or overwrite them (--overwrite)"
            raise FileExistsError(f"{folder} has files in it, maybe of another model; {advice}")
        for file, cloud in zip(files, clouds, strict=True):
            with replacing(file) as temporary:
                write_array(temporary, cloud)
            written.append(file)
            if mesh:
                wall = file.with_suffix(f".{mesh}")
                try:
                    surface = SocketSurface.from_points(cloud, smoothing=design.SMOOTHING)
                    written.append(printing.export(surface, wall, thickness))
                except ValueError as error:
                    refused.append((wall, str(error)))
        # Of an earlier call, maybe of another model; now that the new ones are there.
        name = re.compile(files[0].stem.rstrip("0") + r"\d+\.(npy|stl|3mf|ply)")
        for old in folder.iterdir():
            if name.fullmatch(old.name) and old.is_file() and old not in written:
                old.unlink()
        if page:
            figures.write_html(*page)
            written.append(page[1])
    return written, refused
