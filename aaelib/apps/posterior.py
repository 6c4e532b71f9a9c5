"""What sizes leave open: draws of all sockets that have them, and where these differ."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import trimesh
from scipy.special import logsumexp

from ..shapes.sockets import SocketSurface
from . import completion, design
from .limbs import signed_gaps

_HEIGHTS = 30.0 * np.arange(1, 9)  # mm, of perimeters whose errors are known
_PROPOSALS = 300  # of a kind
_WORTH = 1e-3  # share of the evidence of a kind that is worth drawing from


class Misfit:
    """
    What a model cannot follow, learnt from sockets that it has not seen.

    Parameters
    ----------
    decoded, true : list of SocketSurface
        Of sockets that were encoded and decoded, or fitted, and of the sockets themselves.

    Attributes
    ----------
    wall : float
        Standard deviation of the wall along its normals, mm.
    """

    names = (*design.ATTRIBUTES, *_HEIGHTS)

    def __init__(self, decoded=(), true=()):
        pairs = list(zip(decoded, true, strict=True))
        off = np.array([_errors(*pair, self.names) for pair in pairs] or [[0.0] * len(self.names)])
        walls = [departures(made, [real])[0] for made, real in pairs]
        self.wall = float(np.sqrt(np.nanmean(np.square(walls)))) if pairs else 0.0
        self.covariance = pd.DataFrame(off.T @ off / len(off), self.names, self.names)

    def __call__(self, names, others):
        """
        Covariances (n_names, n_others) of errors of sizes; 0 where errors are not known.

        A perimeter has those of the nearest one that is known.
        """
        rows, columns = ([_known(name) for name in each] for each in (names, others))
        return self.covariance.reindex(rows, columns=columns, fill_value=0.0).to_numpy()


def _known(name):
    return name if isinstance(name, str) else _HEIGHTS[np.abs(_HEIGHTS - name).argmin()]


def _errors(made, true, names):
    """True sizes minus those of the model's socket; 0 for perimeters above one of the brims."""
    known = design.below_brim(made, design.below_brim(true, names))
    off = design.measured(true, known) - design.measured(made, known)
    return pd.Series(off, known).reindex(names, fill_value=0.0).to_numpy()


def _standing(surface):
    """The surface with its lowest point at a height of 0, its lower half's middle on the axis."""
    vertices = surface.vertices
    middle = vertices[:, : vertices.shape[1] // 2, :2].mean(axis=(0, 1))
    return SocketSurface(vertices - [*middle, vertices[..., 2].min()])


def departures(surface, others, stand=True):
    """
    How far (n, n_vertices) outside of a wall's vertices others are, mm; NaN above their brims.

    Where they are, or on the same ground, the middles of their lower halves on one axis (`stand`).
    """
    place = _standing if stand else lambda each: each
    points = place(surface).mesh().vertices
    return np.array([-signed_gaps(points, place(each.coarse()).mesh()) for each in others])


@dataclass(frozen=True)
class Posterior:
    """
    Draws of sockets, see `given_sizes`, `given_sizes_linear` and `given_scan`.

    Attributes
    ----------
    codes : list of numpy.ndarray
        (code_size,) float32 each, or weights (n_modes,) of shape models.
    surfaces : list of SocketSurface
        Of the draws, mm; their nodes correspond. Those of a scan are where the most plausible
        socket stands upright.
    kinds : numpy.ndarray
        (n,), "TT" or "TF", or "".
    best : design.Design or completion.Completion
        The most plausible socket.
    evidence : Evidence
        The sizes that were told.
    effective : float
        Effective number of the draws that were weighed, as a share of them, (0, 1]: near 1 the
        posterior is as the Laplace approximation has it.
    in_place : bool
        Whether walls are compared where they are, or on the same ground.
    """

    codes: list
    surfaces: list
    kinds: np.ndarray
    best: design.Design | completion.Completion
    evidence: "Evidence"
    effective: float
    in_place: bool = False

    @cached_property
    def likelier(self):
        """Indices of the draws of the likelier kind."""
        return np.flatnonzero(self.kinds == pd.Series(self.kinds).mode()[0])

    @cached_property
    def mean(self):
        """The mean surface of the likelier kind."""
        return SocketSurface(np.mean([self.surfaces[i].vertices for i in self.likelier], axis=0))

    @cached_property
    def walls(self):
        """How far (n, n_vertices) outside of the mean surface the draws of its kind are, mm."""
        some = [self.surfaces[i] for i in self.likelier]
        return departures(self.mean, some, stand=not self.in_place)

    def sizes(self, names):
        """
        Sizes (n, n_names) of the draws, with what the model cannot follow.

        Errors of different sizes are correlated (jointly normal). A draw that misses the told sizes
        is therefore likely to miss the others, and these are corrected.
        """
        told, misfit, n = self.evidence.told, self.evidence.misfit, len(names)
        gain = misfit(names, told) @ np.linalg.inv(self.evidence.covariance)
        drawn = np.array([design.measured(each, [*names, *told]) for each in self.surfaces])
        off = self.evidence.values - drawn[:, n:]
        spread = misfit(names, names) - gain @ misfit(told, names)
        errors = np.random.default_rng(0).multivariate_normal(np.zeros(n), spread, len(off))
        return drawn[:, :n] + off @ gain.T + errors

    def wall_draws(self):
        """`walls`, with what the model cannot follow."""
        errors = np.random.default_rng(0).normal(size=self.walls.shape)
        return self.walls + self.evidence.misfit.wall * errors

    @cached_property
    def uncertainty(self):
        """Half the width (n_vertices,), mm, of the intervals that hold 90 % of the walls."""
        low, high = np.nanquantile(self.wall_draws(), [0.05, 0.95], axis=0)
        return (high - low) / 2

    @property
    def half_widths(self):
        """Median and 99th percentile of `uncertainty`, mm."""
        return tuple(np.nanquantile(self.uncertainty, [0.5, 0.99]).tolist())

    @cached_property
    def chosen(self):
        """Eight `alternatives`, found once."""
        return self.alternatives()

    def alternatives(self, n=8):
        """Indices of `n` draws that stand for all, the commonest first (k-means)."""
        from sklearn.cluster import KMeans

        walls = np.stack([each.coarse().vertices.ravel() for each in self.surfaces])
        found = KMeans(min(n, len(walls)), n_init=2, random_state=0).fit(walls)
        nearest = found.transform(walls).argmin(axis=0)
        return nearest[np.argsort(-np.bincount(found.labels_))]

    def next_measurement(self, candidates):
        """
        By what share each size would reduce the wall's variance if it were told.

        If sizes and walls are jointly normal, a measurement reduces the variance at a place by
        their squared covariance over the variance of the measurement. That is summed over the wall.

        Parameters
        ----------
        candidates : sequence
            Names of sizes, or heights of perimeters, mm.

        Returns
        -------
        dict
            Name -> share, [0, 1], the largest first.
        """
        # Above the brims of some draws there is no wall to compare.
        walls = self.walls[:, np.isfinite(self.walls).all(axis=0)]
        walls = walls - walls.mean(axis=0)
        sizes = np.array([design.measured(self.surfaces[i], candidates) for i in self.likelier])
        off, shares = sizes - sizes.mean(axis=0), {}
        for name, mean, each in zip(candidates, sizes.mean(axis=0), off.T, strict=True):
            errors = design.tolerance(name, mean) ** 2 + self.evidence.misfit([name], [name])[0, 0]
            together = each @ walls / len(walls)
            shares[name] = (together**2).sum() / (np.var(each) + errors) / walls.var(axis=0).sum()
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


# Given sizes ----------------------------------------------------------------------------------


class Evidence:
    """
    The sizes that a socket is known to have, and how far they may be off.

    Parameters
    ----------
    wanted : dict, optional
        As for `design.fit_sizes`; by default no size is known.
    misfit : Misfit, optional
        By default the model can follow every socket.

    Attributes
    ----------
    told : list
        Names of the sizes, without the brim, which only has a lower limit.
    values, covariance : numpy.ndarray
        Of these sizes, and of their differences from those of a code.
    loosened : design.Targets
        Targets whose tolerances have what the model cannot follow in them.
    """

    def __init__(self, wanted=None, misfit=None):
        none = design.Targets([], np.zeros(0), np.zeros(0), np.zeros(0, bool))
        self.targets = none if wanted is None else design.targets_for(wanted)
        self.misfit = misfit or Misfit()
        exact, tolerances = ~self.targets.at_least, self.targets.tolerances.copy()
        self.told = self.targets.names[: exact.sum()]
        self.values = self.targets.values[exact]
        self.covariance = np.diag(tolerances[exact] ** 2) + self.misfit(self.told, self.told)
        tolerances[exact] = np.sqrt(np.diag(self.covariance))
        self.loosened = replace(self.targets, tolerances=tolerances)

    def precision(self, surface, slopes):
        """
        Of the numbers (n,) of a most plausible surface: the prior's, and what the sizes tell.

        Numbers are in standard deviations of the prior, slopes (n_targets, n) of sizes by them.
        """
        targets = self.targets
        exact = slopes[~targets.at_least]
        misses = targets.misses(design.measured(surface, targets.names))
        short = targets.at_least & (misses < 0)
        limits = slopes[short] / targets.tolerances[short, None]
        precision = np.eye(slopes.shape[1]) + exact.T @ np.linalg.solve(self.covariance, exact)
        return precision + limits.T @ limits

    def costs(self, sizes):
        """Twice the negative logarithm (n,) of the likelihood of sizes (n, n_targets)."""
        least = self.targets.at_least
        off = sizes[:, ~least] - self.values
        exact = np.einsum("ni,ij,nj->n", off, np.linalg.inv(self.covariance), off)
        return exact + (self.targets.misses(sizes)[:, least] ** 2).sum(axis=1)


def told(surface, heights):
    """A socket's length and its perimeters at heights below its brim, for `given_sizes`."""
    heights = design.below_brim(surface, heights)
    perimeters = dict(zip(heights, design.measured(surface, heights), strict=True))
    return {"length_mm": surface.heights()["length_mm"], "perimeters_mm": perimeters}


def given_sizes(aae, wanted, n=200, seed=0, misfit=None, draws=None):
    """
    Draw sockets that have wanted sizes, as often as the prior has them.

    Importance sampling: around each kind's most plausible socket (`design.fit_sizes`) codes are
    drawn from the Laplace approximation of their posterior, each is weighed by prior times
    likelihood over its density there, and `n` are drawn from them by weight. Sizes are known up to
    the tolerances of `fit_sizes` and what the model cannot follow. What a code tells about its kind
    alone stays as it is on average.

    Parameters
    ----------
    aae : AdversarialAutoencoder or NumpyAutoencoder
        With "dataset" normalization.
    wanted : dict
        As for `design.fit_sizes`.
    n : int
        How many.
    seed : int
        Of the draws.
    misfit : Misfit, optional
        By default the model can follow every socket.
    draws : design.Population, optional
        As for `design.fit_sizes`.

    Returns
    -------
    Posterior

    Raises
    ------
    ValueError
        As `design.fit_sizes` does.
    """
    evidence = Evidence(wanted, misfit)
    targets, draws = evidence.loosened, draws or design.population(aae)
    std, within, modes = aae.recipe.prior_std, design.within_kind(aae), []
    for kind, (cost, made) in design.fitted(aae, targets, draws).items():
        middle = design.middle_of(aae, draws, kind)
        template = design.Template(aae, made.code)
        slopes, share = template.slopes(made.code, targets.names), np.mean(draws.kinds == kind)

        def decode(numbers, template=template, middle=middle):
            codes = np.float32(middle + std * numbers)
            return codes, template.surfaces(codes)

        numbers, precision = (made.code - middle) / std, evidence.precision(made.surface, slopes)
        modes.append(_Mode(kind, share, cost, made, numbers, precision, decode))
    return _drawn(modes, evidence, n, seed, within)


def given_sizes_linear(shape_models, wanted, n=200, seed=0, misfit=None):
    """
    Draw sockets of linear shape models that have wanted sizes: a baseline in closed form.

    Weights are normal given sizes that are linear in them (posterior shape models, Albrecht et al.
    2013), linearized at `design.condition_on_sizes`. Each kind has the share of its evidence.

    Parameters
    ----------
    shape_models : dict of str to ShapeModel
        A model for each kind.
    wanted, n, seed, misfit
        As for `given_sizes`.

    Returns
    -------
    Posterior
    """
    evidence = Evidence(wanted, misfit)
    modes = []
    for kind, model in shape_models.items():
        cost, made, slopes = design.conditional(model, evidence.loosened)

        def decode(numbers, model=model):
            return np.float32(numbers), [model.surface(each) for each in numbers]

        share, precision = 1 / len(shape_models), evidence.precision(made.surface, slopes)
        modes.append(_Mode(kind, share, cost, made, made.code, precision, decode))
    return _drawn(modes, evidence, n, seed)


# Given a scan ---------------------------------------------------------------------------------


def given_scan(points, whole, starts, stages, n=100, seed=0):
    """
    Draw whole sockets that a scan may be of, where the scan is.

    Codes and places are drawn from the Laplace approximation of their posterior, see
    `completion.local`. All are of the leg that was found; a kind has the share of its evidence.

    Parameters
    ----------
    points : (n_points, 3) array
        Of the scan, mm.
    whole : completion.Completion
        What was found for it.
    starts, stages
        Of the search that found it (`completion.begun`), to look for sockets of the other kinds.
    n : int
        How many.
    seed : int
        Of the draws.

    Returns
    -------
    Posterior
    """
    others = {}
    for start in starts:
        if start.kind != whole.kind and start.is_left == whole.found.is_left:
            others.setdefault(start.kind, []).append(start)
    found = [completion.search(points, each, stages)[0] for each in others.values()]
    upright, share = np.linalg.inv(whole.motion), 1 / (1 + len(found))
    modes = [_mode_of_scan(points, each, upright, whole, share) for each in (whole.found, *found)]
    return replace(_drawn(modes, Evidence(), n, seed), in_place=True)


def _mode_of_scan(points, start, upright, whole, share):
    cost, precision = completion.local(points, start)
    template = design.Template(start.decoder, start.code)

    def decode(steps):
        moved = [completion.moved(start, step) for step in steps]
        codes = np.float32([each.code for each in moved])
        surfaces = [
            SocketSurface(trimesh.transform_points(grid.reshape(-1, 3), motion).reshape(grid.shape))
            for grid, motion in zip(
                (each.vertices for each in template.surfaces(codes)),
                upright @ [each.motion for each in moved],
                strict=True,
            )
        ]
        return codes, surfaces

    return _Mode(start.kind, share, cost, whole, np.zeros(len(precision)), precision, decode)


# Laplace approximations -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Mode:
    """
    The most plausible socket of a kind, and the Laplace approximation around it.

    `numbers` (n,) describe it in standard deviations of the prior, `precision` (n, n) is theirs,
    and `decode` gives codes and surfaces of numbers (n_draws, n). `cost` is minus twice the
    logarithm of its posterior density.
    """

    kind: str
    share: float
    cost: float
    made: object
    numbers: np.ndarray
    precision: np.ndarray
    decode: object

    @property
    def log(self):
        """Logarithm of the evidence."""
        return np.log(self.share) - (self.cost + np.linalg.slogdet(self.precision)[1]) / 2


def _drawn(modes, evidence, n, seed, within=None):
    """Draw around the modes and choose by weight; without `within` they are taken to be normal."""
    generator = np.random.default_rng(seed)
    most, found = max(mode.log for mode in modes), []
    for mode in modes:
        if mode.log - most < np.log(_WORTH):
            continue
        steps = generator.normal(size=(_PROPOSALS, len(mode.numbers)))
        steps = np.linalg.solve(np.linalg.cholesky(mode.precision).T, steps.T).T
        steps = steps if within is None else steps @ within
        numbers = mode.numbers + steps
        codes, surfaces = mode.decode(numbers)
        weights = np.full(_PROPOSALS, mode.log)
        if within is not None:
            sizes = [design.measured(each, evidence.targets.names) for each in surfaces]
            proposed = np.einsum("ni,ij,nj->n", steps, mode.precision, steps)
            costs = (numbers**2).sum(axis=1) + evidence.costs(np.array(sizes))
            weights += (mode.cost + proposed - costs) / 2
        found += zip(codes, surfaces, [mode.kind] * len(codes), weights, strict=True)
    codes, surfaces, kinds, weights = zip(*found, strict=True)
    weights = np.exp(weights - logsumexp(weights))
    chosen = generator.choice(len(weights), n, p=weights)
    effective = float(1 / (weights**2).sum() / len(weights))
    drawn = [[each[i] for i in chosen] for each in (codes, surfaces)]
    best = min(modes, key=lambda mode: mode.cost).made
    return Posterior(*drawn, np.array(kinds)[chosen], best, evidence, effective)
