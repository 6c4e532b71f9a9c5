"""The statistical shape model: a mean socket and its modes of variation."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy
import trimesh
from scipy.interpolate import RBFInterpolator
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from . import archives
from .clouds import resample
from .meshes import nearest_on
from .sockets import SocketSurface, node_values
from .writing import replacing

_LIMIT = 2.5  # standard deviations of drawn weights


@dataclass(frozen=True)
class ShapeModel:
    """
    A linear model of corresponding surfaces (Cootes et al. 1995): mean + weights x modes.

    Surfaces are centred (the mean of their vertices moves to the origin) and not scaled: size is
    part of a socket.

    Attributes
    ----------
    mean_ : (angles, heights, 3) array
        Mean surface, mm.
    modes_ : (n_modes, angles, heights, 3) array
        Displacement by one standard deviation of each mode, mm; the largest first.
    variance_fractions_ : (n_modes,) array
        Share of the training surfaces' total variance, [0, 1].
    n_surfaces_ : int
        How many surfaces it was fitted to.
    template_ : (angles, heights, 3) array or None
        The surface on which `point_basis` spreads points evenly; the mean if None.
    """

    mean_: np.ndarray
    modes_: np.ndarray
    variance_fractions_: np.ndarray
    n_surfaces_: int
    template_: np.ndarray | None = None

    @classmethod
    def fit(cls, surfaces, n_modes=None, template=None):
        """
        Fit a model to surfaces by principal component analysis.

        Parameters
        ----------
        surfaces : sequence of SocketSurface
            Two or more, on one grid.
        n_modes : int, optional
            How many modes to keep; all (number of surfaces - 1) by default.
        template : SocketSurface, optional
            On the same grid: where points are evenly spread, see `point_basis`.

        Returns
        -------
        ShapeModel

        Raises
        ------
        ValueError
            For fewer than two surfaces, or `n_modes` out of [1, number of surfaces - 1].
        """
        most = len(surfaces) - 1
        if most < 1:
            raise ValueError(f"a shape model needs 2 or more surfaces; got {len(surfaces)}")
        n_modes = _checked(n_modes, most)
        grids = np.stack([_centred(surface) for surface in surfaces])
        # The full decomposition: a randomised one would make tables depend on a seed.
        from sklearn.decomposition import PCA  # a second of import, only to fit

        pca = PCA(n_modes, svd_solver="full").fit(grids.reshape(len(grids), -1))
        modes = pca.components_ * np.sqrt(pca.explained_variance_)[:, None]
        return cls(
            mean_=pca.mean_.reshape(grids.shape[1:]),
            modes_=modes.reshape(n_modes, *grids.shape[1:]),
            variance_fractions_=pca.explained_variance_ratio_,
            n_surfaces_=len(grids),
            template_=None if template is None else template.vertices,
        )

    @property
    def n_modes(self):
        return len(self.modes_)

    def surface(self, weights):
        """
        Build the surface of given weights.

        Parameters
        ----------
        weights : (k,) array
            Standard deviations along the first k modes.

        Returns
        -------
        SocketSurface
        """
        weights = np.asarray(weights, float)
        if weights.ndim != 1 or len(weights) > self.n_modes:
            raise ValueError(f"weights have shape {weights.shape}; there are {self.n_modes} modes")
        return SocketSurface(self.mean_ + np.tensordot(weights, self.modes_[: len(weights)], 1))

    def weights(self, surface, n_modes=None):
        """
        Project a surface on the modes: the least squared distances between corresponding vertices.

        Parameters
        ----------
        surface : SocketSurface
        n_modes : int, optional
            How many modes may be used; all by default.

        Returns
        -------
        (n_modes,) array
            Standard deviations along each mode.
        """
        n_modes = _checked(n_modes, self.n_modes)
        flat = self.modes_[:n_modes].reshape(n_modes, -1)
        return flat @ (_centred(surface) - self.mean_).reshape(-1) / np.sum(flat**2, axis=1)

    def reconstruct(self, surface, n_modes=None):
        """
        Find the model's surface that is nearest to `surface`, and move it there.

        What counts is mainly the part of a vertex' distance along the surface's normal
        (point-to-plane, Chen and Medioni 1992), because sliding along a smooth wall does not change
        the shape. On the public sockets the distance between the surfaces is a quarter smaller than
        that of the projection (`weights`).

        Parameters
        ----------
        surface : SocketSurface
        n_modes : int, optional
            How many modes may be used; all by default.

        Returns
        -------
        SocketSurface
        """
        n_modes = _checked(n_modes, self.n_modes)
        moves = np.broadcast_to(np.eye(3)[:, None, None], (3, *self.mean_.shape))
        design = _surface_terms(np.concatenate([self.modes_[:n_modes], moves]), surface)
        target = _surface_terms((_centred(surface) - self.mean_)[None], surface)[0]
        found = np.linalg.lstsq(design.T, target, rcond=None)[0]
        nearest = self.surface(found[:n_modes]).vertices
        return SocketSurface(nearest + _centre(surface) + found[n_modes:])

    def draw_weights(self, n, seed=0):
        """Draw weights (n, n_modes): standard normal, none beyond 2.5 standard deviations."""
        rng = np.random.default_rng(seed)
        return scipy.stats.truncnorm.rvs(-_LIMIT, _LIMIT, size=(n, self.n_modes), random_state=rng)

    def sample(self, n, seed=0):
        """
        Draw surfaces with independent normal weights, none beyond 2.5 standard deviations.

        Parameters
        ----------
        n : int
        seed : int

        Returns
        -------
        list of SocketSurface
        """
        return [self.surface(weights) for weights in self.draw_weights(n, seed)]

    def point_basis(self, n_points=2048, n_patterns=8, seed=0):
        """
        Build linear models of clouds, so that a matrix product draws a cloud.

        A pattern is a set of evenly spread places (a face and its barycentric coordinates) on the
        mean surface, or on the template if there is one. On every other surface the same places are
        linear in the vertices, and so in the weights.

        Parameters
        ----------
        n_points, n_patterns : int
        seed : int

        Returns
        -------
        mean : (n_patterns, n_points, 3) float32 array
        modes : (n_patterns, n_modes, n_points, 3) float32 array
        """
        mesh = SocketSurface(self.mean_ if self.template_ is None else self.template_).mesh()
        stacked = np.concatenate([self.mean_[None], self.modes_])
        vertices = np.stack([SocketSurface(grid).mesh().vertices for grid in stacked])
        basis = np.empty((n_patterns, len(stacked), n_points, 3), np.float32)
        for k in range(n_patterns):
            places = resample(mesh, n_points, seed=seed + k)
            _, _, faces = nearest_on(mesh, places)
            share = trimesh.triangles.points_to_barycentric(mesh.triangles[faces], places)
            corners = vertices[:, mesh.faces[faces]]
            basis[k] = np.einsum("mpcx,pc->mpx", corners, share)
        return basis[:, 0], basis[:, 1:]

    def sample_clouds(self, n, n_points=2048, seed=0):
        """
        Draw clouds with independent normal weights, with the density of `point_basis`.

        Parameters
        ----------
        n, n_points : int
        seed : int

        Returns
        -------
        (n, n_points, 3) float32 array
            In mm.
        """
        means, modes = self.point_basis(n_points, seed=seed)
        patterns = np.random.default_rng(seed).integers(len(means), size=n)
        drawn = zip(patterns, self.draw_weights(n, seed).astype(np.float32), strict=True)
        return np.stack([means[p] + np.tensordot(w, modes[p], 1) for p, w in drawn])

    def compactness(self):
        """Sum the shares of variance of the first 1, 2, ... modes: (n_modes,) in [0, 1]."""
        return np.cumsum(self.variance_fractions_)

    def save(self, path):
        """Write to an `.npz` file, whole or not at all."""
        arrays = {name.rstrip("_"): v for name, v in vars(self).items() if v is not None}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path):
        """
        Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not a shape model.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"no shape model at {path}; notebook 01 writes them")
        try:
            archives.check_zip(path)
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {f"{k}_": np.asarray_chkfinite(file[k], float) for k in file.files}
            model = cls(**{**arrays, "n_surfaces_": int(arrays["n_surfaces_"])})
            grid = SocketSurface(model.mean_).vertices.shape
            names = "modes_", "variance_fractions_", "template_"
            found = [arrays.get(name, model.mean_).shape for name in names]
            if found != [(model.n_modes, *grid), (model.n_modes,), grid]:
                raise ValueError(f"arrays of other shapes than the mean's {grid}: {found}")
        except Exception as error:  # bytes at random fail in many ways
            message = f"{path} is not a shape model written by ShapeModel.save ({error})"
            raise ValueError(f"{message}; write or download it again") from error
        return model


def _checked(n_modes, most):
    n_modes = most if n_modes is None else n_modes
    if not 1 <= n_modes <= most:
        raise ValueError(f"n_modes is {n_modes}; there are {most}")
    return n_modes


@threadpool_limits.wrap(limits=1)  # it has threads of its own
def transported(surfaces, clouds, n_points=2048, ranks=(4, 8, 12), seed=0):
    """
    Fit a shape model whose correspondence follows the density of clouds.

    A grid by angle and arc length ignores where a cloud's points are dense. If clouds are samples
    of one shape that was deformed, density tells how far each part was stretched, and so which
    places correspond. Evenly spread places on each surface are assigned to the points of its cloud,
    one to one and by the least sum of squared distances (optimal transport; Peyré and Cuturi 2019,
    section 2.2). The places of all surfaces are smoothed to a linear model with few modes, put back
    on their surfaces and assigned again, with more modes each time. Then the nodes of the grids
    slide along their surfaces as the places did.

    Parameters
    ----------
    surfaces : sequence of SocketSurface
        Two or more of one kind, on one grid.
    clouds : (n, m_points, 3) array
        The cloud of each, mm.
    n_points : int
        Points of a cloud that are used, drawn at random where it has more.
    ranks : sequence of int
        Modes of the smoothing, round by round; at most one less than there are surfaces.
    seed : int

    Returns
    -------
    ShapeModel
        Model of the slid surfaces. Its template is the mean of the original grids, so that drawn
        clouds are as dense as the given ones.
    """
    clouds = np.random.default_rng(seed).permutation(np.asarray(clouds, float), axis=1)
    clouds = clouds[:, :n_points]
    model = ShapeModel.fit(surfaces)
    mean, modes = model.point_basis(clouds.shape[1], n_patterns=1, seed=seed)
    weights = [model.weights(surface) for surface in surfaces]
    centres = np.stack([_centre(surface) for surface in surfaces])[:, None]
    start = mean[0] + np.tensordot(weights, modes[0], 1) + centres
    places = start
    for rank in tqdm(ranks, desc="correspondence", leave=False):
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # most of it runs without Python's lock
            assigned = np.stack(list(threads.map(_assigned, places, clouds)))
        smooth = _low_rank(assigned, min(rank, len(surfaces) - 1))
        places = np.stack([_on_surface(s, p) for s, p in zip(surfaces, smooth, strict=True)])
    # How far each place moved, along the grids' nodes.
    moves = (places - start).transpose(1, 0, 2).reshape(len(mean[0]), -1)
    interpolator = RBFInterpolator(mean[0], moves, neighbors=24, kernel="linear", smoothing=0.1)
    moves = interpolator(model.mean_.reshape(-1, 3)).reshape(*model.mean_.shape[:2], -1, 3)
    slid = [_slid(s, move) for s, move in zip(surfaces, np.moveaxis(moves, 2, 0), strict=True)]
    return ShapeModel.fit(slid, template=SocketSurface(model.mean_))


def _assigned(places, cloud):
    """Reorder the points of a cloud as the places that they are assigned to."""
    return cloud[linear_sum_assignment(cdist(places, cloud, "sqeuclidean"))[1]]


def _low_rank(places, rank):
    """Smooth places (n, n_points, 3) to the first modes of their variation."""
    centres = places.mean(axis=1, keepdims=True)
    flat = (places - centres).reshape(len(places), -1)
    from sklearn.decomposition import PCA

    pca = PCA(rank, svd_solver="full").fit(flat)
    return pca.inverse_transform(pca.transform(flat)).reshape(places.shape) + centres


def _on_surface(surface, points):
    return nearest_on(surface.mesh(), points)[0]


def _slid(surface, moves):
    """Slide a surface's nodes along it, those of the brim along the brim."""
    moved = surface.vertices + moves
    slid = _on_surface(surface, moved.reshape(-1, 3)).reshape(moved.shape)
    brim = surface.vertices[:, -1]
    share = np.linspace(0, 1, 20, endpoint=False)[:, None, None]
    fine = (brim + share * (np.roll(brim, -1, axis=0) - brim)).reshape(-1, 3)
    slid[:, -1] = fine[cKDTree(fine).query(moved[:, -1])[1]]
    slid[:, 0] = slid[0, 0]
    return SocketSurface(slid)


def generalization(surfaces, n_modes):
    """
    Measure how well a model describes an unseen socket: leave-one-out error (Davies 2002).

    Parameters
    ----------
    surfaces : sequence of SocketSurface
        Three or more.
    n_modes : sequence of int
        Numbers of modes to report.

    Returns
    -------
    (len(surfaces), len(n_modes)) array
        Mean distance in mm between corresponding vertices of each surface and its reconstruction
        by the model of the others. NaN where that model has fewer modes.
    """
    errors = np.full((len(surfaces), len(n_modes)), np.nan)
    for i, left_out in enumerate(tqdm(surfaces, desc="leave one out", leave=False)):
        model = ShapeModel.fit([*surfaces[:i], *surfaces[i + 1 :]])
        for j, k in enumerate(n_modes):
            if k <= model.n_modes:
                found = model.surface(model.weights(left_out, k)).vertices + _centre(left_out)
                errors[i, j] = vertex_distance(left_out, SocketSurface(found))
    return errors


def specificity(model, surfaces, n_modes, n_samples=100, seed=0):
    """
    Measure how near a model's samples are to real sockets (Davies 2002).

    Parameters
    ----------
    model : ShapeModel
    surfaces : sequence of SocketSurface
        The real ones, usually those that the model was fitted to.
    n_modes : sequence of int
        Numbers of modes to report.
    n_samples : int
    seed : int

    Returns
    -------
    (n_samples, len(n_modes)) array
        Mean distance in mm between corresponding vertices of each sample and the real surface
        that is nearest by that measure.
    """
    weights = np.random.default_rng(seed).normal(size=(n_samples, model.n_modes))
    real = np.stack([_centred(surface) for surface in surfaces])

    def distance(drawn):
        sample = model.surface(drawn).vertices
        return np.linalg.norm(real - sample, axis=-1).mean(axis=(1, 2)).min()

    return np.array([[distance(w[:k]) for k in n_modes] for w in weights])


# Weights of a vertex's departure in the surface fit: 1 along the normal; a little everywhere,
# so that vertices don't drift; more at the brim, an edge that has a place.
_ANYWHERE, _AT_BRIM = 0.02, 0.3


def _surface_terms(departures, surface):
    """Flatten departures (k, angles, heights, 3) to rows (k, terms) of the surface fit."""
    weights = np.full(departures.shape[1:], _ANYWHERE)
    weights[:, -1] = _AT_BRIM
    normals = node_values(surface.mesh().vertex_normals, *surface.vertices.shape[:2])
    along_normal = np.einsum("kahx,ahx->kah", departures, normals)
    terms = along_normal, departures * weights
    return np.concatenate([term.reshape(len(term), -1) for term in terms], axis=1)


def vertex_distance(a, b):
    """Average the distance in mm of corresponding vertices of two surfaces, both centred."""
    return float(np.linalg.norm(_centred(a) - _centred(b), axis=-1).mean())


def _centre(surface):
    return surface.vertices.mean(axis=(0, 1))


def _centred(surface):
    return surface.vertices - _centre(surface)
