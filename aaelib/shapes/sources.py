"""Public shapes, SocketSSM and ModelNet, and their bundled stand-ins."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from . import corpus
from .clouds import normalize
from .folders import Shapes, digest_of_file, load_clouds
from .places import DATA, published_folders
from .shape_model import ShapeModel
from .sockets import check_sockets
from .splits import at_most

KINDS = ("TT", "TF")

SOCKETS = "SocketSSM"
BUNDLED_SOCKETS = "bundled shape model (stand-in for SocketSSM)"
BUNDLED_CORPUS = "procedural surfaces (stand-in for ModelNet)"

# Published sockets that no model of the repository has seen: the file says why.
_LISTED = (DATA / "SocketSSM-sealed.txt").read_text().splitlines()
SEALED = [Path(line).stem for line in _LISTED if not line.startswith("#")]


def load_sockets(kind=None, source="auto", limit=None, sealed=False):
    """
    Load sockets from the user's folder, else the downloaded ones, else the bundled default.

    Sealed sockets are left out, since the study's finished models are tested on them. They are
    known by the names of their files, which `data/SocketSSM-sealed.txt` lists.

    Parameters
    ----------
    kind : {"TT", "TF"}, optional
        Transtibial or transfemoral only; both by default.
    source : {"auto", "SocketSSM", "bundled"}
        "auto" takes the first of these that is there. "SocketSSM" accepts only the published
        sockets, "bundled" only the stand-in.
    limit : int, optional
        At most that many of each kind.
    sealed : bool
        Load only the sealed sockets. Do not train on them, and choose nothing by them.

    Returns
    -------
    Shapes or None
        In mm. `.source` says which sockets they are: "SocketSSM" only if each file of the folder
        is published under its name, with its sha256. None if sealed ones are asked for and there
        are none, as among the bundled ones.

    Raises
    ------
    ValueError
        For an unknown kind or source, or if "SocketSSM" is asked for and a folder of that name
        holds other sockets.
    FileNotFoundError
        If `AAELIB_DATA` names no folder, or "SocketSSM" is asked for and not there.

    Warns
    -----
    UserWarning
        If sockets of a folder look as if they were in another unit than mm, or upside down, or if
        a sub-folder's name is not a kind.
    """
    if kind not in (None, *KINDS):
        raise ValueError(f"unknown kind {kind!r}; accepted: 'TT', 'TF' or None for both")
    kinds = KINDS if kind is None else (kind,)
    if found := _found(source, SOCKETS, SOCKETS):
        return _sockets_of(found[0], kinds, limit, sealed, source == SOCKETS)
    return None if sealed else _bundled_sockets(kinds, limit)


def load_corpus(source="auto", n_points=2048, limit=None, n_per_family=40, seed=0):
    """
    Load shapes for pre-training: ModelNet where there is one, else procedural surfaces.

    Parameters
    ----------
    source : {"auto", "ModelNet", "bundled"}
    n_points : int
    limit : int, optional
        ModelNet: at most that many shapes of a class, drawn by `seed`; reading all takes long.
    n_per_family : int
        Procedural surfaces: how many of each family.
    seed : int

    Returns
    -------
    Shapes
        Each in the unit sphere. `.kinds` are classes, `.names` relative paths.
    """
    # ModelNet40 contains ModelNet10: never both.
    if found := _found(source, "ModelNet", "ModelNet40*", "ModelNet10*"):
        parts = [load_clouds(folder, n_points, limit, seed) for folder in found]
        arrays = [(part.points, part.names, part.kinds) for part in parts]
        points, names, kinds = map(np.concatenate, zip(*arrays, strict=True))
        source = " + ".join(folder.name for folder in found)
        return Shapes(normalize(points, "unit-sphere")[0], names, kinds, source)
    points, labels = corpus.generate(n_per_family, n_points=n_points, seed=seed)
    names = np.array([f"{label}_{i:04d}" for i, label in enumerate(labels)])
    return Shapes(points, names, labels, BUNDLED_CORPUS)


def _found(source, published, *patterns):
    """Folders of published shapes; none means that the bundled default takes their place."""
    if source not in ("auto", published, "bundled"):
        raise ValueError(f"unknown source {source!r}; accepted: 'auto', '{published}', 'bundled'")
    found = [] if source == "bundled" else published_folders(*patterns)
    if source == published and not found:
        option = "" if published == SOCKETS else " MODELNET=10"
        advice = f"`make data{option}` downloads it, or set AAELIB_DATA (see data/README.md)"
        raise FileNotFoundError(f"no {published}; {advice}")
    return found


def published_sockets():
    """Names of the published sockets' files, each with "sha256:" and its digest."""
    lines = (DATA / "SocketSSM-registry.txt").read_text().splitlines()
    return dict(line.split() for line in lines)


def unpublished(folder, files):
    """List the files of a folder of sockets that are not published, or not with this content."""
    known = published_sockets()
    names = {file: file.relative_to(folder).as_posix() for file in files}
    return [f for f in files if known.get(names[f]) != f"sha256:{digest_of_file(f)}"]


def _sockets_of(folder, kinds, limit, sealed, only_published):
    shapes = load_clouds(folder)
    others = unpublished(folder, shapes.files)
    if others and only_published:
        found = f"{len(others)} of {len(shapes)} sockets are not those of SocketSSM"
        raise ValueError(f"{folder}: {found}, such as {others[0]}; take them out")
    shapes = shapes[np.isin([file.stem for file in shapes.files], SEALED) == sealed]
    if unknown := ", ".join(map(repr, sorted(set(shapes.kinds.tolist()) - set(KINDS)))):
        what = f"{unknown} is no kind of socket, and what is there is left out"
        advice = "sub-folders are TT (transtibial) and TF (transfemoral): rename them"
        warnings.warn(f"{folder}: {what}; {advice}", stacklevel=3)
    if not np.isin(shapes.kinds, kinds).any():
        if sealed:
            return None
        missing = " or ".join(kinds)
        raise FileNotFoundError(f"no {missing} sockets in {folder} (sealed ones do not count)")
    # Sealed sockets must not change what a limit draws.
    shapes = shapes[at_most(limit, shapes.kinds, seed=0)]
    shapes = shapes[np.isin(shapes.kinds, kinds)]
    check_sockets(shapes.points, [folder / name for name in shapes.names])
    return replace(shapes, source=f"sockets of {shapes.folder}" if others else SOCKETS)


# The bundled default --------------------------------------------------------------------------


def bundle(shapes, surfaces, n_modes=14):
    """
    Write the bundled default: one shape model of each kind, small enough for the repository.

    Parameters
    ----------
    shapes : Shapes
        All of SocketSSM but for the sealed sockets.
    surfaces : sequence of SocketSurface
        The surface of each.
    n_modes : int
        Modes to keep of each kind.

    Returns
    -------
    list of Path
        The files.
    """
    files = [DATA / "sockets" / f"{kind}.npz" for kind in KINDS]
    for kind, file in zip(KINDS, files, strict=True):
        members = np.flatnonzero(shapes.kinds == kind)
        model = ShapeModel.fit([surfaces[i] for i in members], n_modes)
        # Half precision is off by less than 0.02 mm on a mode.
        mean, modes = model.mean_.astype(np.float32), model.modes_.astype(np.float16)
        replace(model, mean_=mean, modes_=modes).save(file)
    return files


def _bundled_sockets(kinds, limit):
    points, names, n = [], [], len(at_most(limit, np.zeros(90), seed=0))
    for kind in kinds:
        model = ShapeModel.load(DATA / "sockets" / f"{kind}.npz")
        # The same draws whichever kinds are asked for.
        seed = KINDS.index(kind)
        drawn = tqdm(model.sample(n, seed), desc=f"bundled {kind}", leave=False)
        points += [surface.sample(seed=1000 * seed + i) for i, surface in enumerate(drawn)]
        names += [f"{kind}/drawn_{kind.lower()}_{i:03d}" for i in range(n)]
    return Shapes(np.stack(points), np.array(names), np.repeat(kinds, n), BUNDLED_SOCKETS)
