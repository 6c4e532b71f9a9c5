"""Sockets by measurement: what a code measures, one attribute changed alone, a socket to order."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from scipy.stats import chi2
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score

from ..shapes import sources
from ..shapes.sockets import SocketSurface, section_sizes

ATTRIBUTES = (
    "length_mm",
    "volume_mm3",
    "brim_height_mean_mm",
    "proximal_perimeter_mm",
    "distal_perimeter_mm",
)

_PERIMETERS = "perimeters_mm"
_CARRIERS = 8  # decoded points that carry a node of the surface along
_STEP = 0.3  # of finite differences, in standard deviations of the prior: past a brim's kinks
_HELD = 0.01  # of an attribute's value: how far it may drift, as if one standard deviation
_LENGTH_TOLERANCE = 1.0  # mm
_PERIMETER_TOLERANCE = 0.005  # of the value
_SIZE_TOLERANCE = 0.01  # of the value: areas, volumes
_BENT = 2.0  # times: a direction that is off by more is no direction
_SETTLED = 0.3  # tolerances between a carried surface and the one fitted anew
_ROUNDS = 6
_MARGIN = 0.25  # of the range of the prior's sizes, beyond either end


@dataclass(frozen=True)
class AttributeDirection:
    """
    How to change one attribute of a socket and leave the others, see `attribute_directions`.

    Attributes
    ----------
    name : str
    value : float
        Of the attribute at the code where the direction was taken.
    step : numpy.ndarray
        (code_size,): what to add to the code for one more mm (mm2, mm3); for "kind" to get from the
        first to the second.
    reliability : float
        R^2 with which the attribute's slope at the code predicts it on other sockets of the prior
        (1: the slope holds everywhere, 0 or less: nearby only); for "kind" the cross-validated
        accuracy with which it tells the kinds apart, [0, 1].
    effect : float
        Measured change over the wanted one, 1 at best; nan for "kind".
    leak : dict
        Measured change of each other attribute by the same step, as a part of its value; empty for
        "kind".
    """

    name: str
    value: float
    step: np.ndarray
    reliability: float
    effect: float
    leak: dict


@dataclass(frozen=True)
class Design:
    """
    A socket made to measure, see `fit`.

    Attributes
    ----------
    code : numpy.ndarray
        (code_size,) float32.
    cloud : numpy.ndarray
        (n_points, 3) float32, mm: the code decoded.
    surface : SocketSurface
        Fitted to the cloud; what was measured.
    measured, shortfalls : dict
        With the keys of what was wanted: what the surface has, and what it lacks (wanted minus
        measured).
    distance : float
        From the middle of the prior: |code / prior_std| / sqrt(code_size), about 1 for a draw.
    percentile : float
        Draws of the prior that are nearer to its middle, [0, 100], by the chi-square distribution:
        near 100 the socket is unlike what the model knows.
    """

    code: np.ndarray
    cloud: np.ndarray
    surface: SocketSurface
    measured: dict
    shortfalls: dict
    distance: float
    percentile: float


@dataclass(frozen=True)
class Population:
    """
    Draws of the prior as surfaces, see `population`.

    Attributes
    ----------
    codes : numpy.ndarray
        (n, code_size).
    surfaces : list of SocketSurface
    kinds : numpy.ndarray
        (n,) of str; "" where the model does not tell kinds.
    """

    codes: np.ndarray
    surfaces: list
    kinds: np.ndarray


def decoded_surface(aae, code):
    """
    The surface of a code's socket.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    code : (code_size,) array

    Returns
    -------
    SocketSurface
    """
    # A decoder's points scatter about its surface: more smoothing than scans need.
    return SocketSurface.from_points(aae.decode(np.asarray(code)[None])[0], smoothing=0.1)


def measure_codes(aae, codes, heights=()):
    """
    Sizes of the sockets of codes, each fitted with a surface (0.1 s a socket).

    Parameters
    ----------
    aae : AdversarialAutoencoder
        Of "dataset" normalization: only its sockets have a size.
    codes : (n, code_size) array
    heights : sequence of float
        Of sections, mm above the distal end.

    Returns
    -------
    dict of numpy.ndarray
        The `ATTRIBUTES`, (n,) each, in mm and mm3; "volume_l", (n,), in litres; "perimeters_mm",
        (n, len(heights)), nan where a section is not closed.

    Raises
    ------
    ValueError
        If the model's sockets have no size.
    """
    _needs_size(aae)
    surfaces = [decoded_surface(aae, code) for code in codes]
    values = np.array([_values(surface, ATTRIBUTES) for surface in surfaces])
    sizes = dict(zip(ATTRIBUTES, values.T, strict=True))
    perimeters = np.array([_values(surface, heights) for surface in surfaces])
    closed = [_closed(surface, heights) for surface in surfaces]
    return sizes | {
        "volume_l": sizes["volume_mm3"] / 1e6,
        _PERIMETERS: np.where(closed, perimeters, np.nan),
    }


def kinds_of(aae, codes):
    """
    The kind whose linear model has the largest part in each code's socket.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    codes : (n, code_size) array

    Returns
    -------
    (n,) array of str
        "TT" or "TF"; "" if the decoder has not one linear model a kind.
    """
    if not _tells_kinds(aae):
        return np.full(len(codes), "")
    return np.array(sources.KINDS)[_kind_scores(aae, codes).argmax(axis=1)]


def population(aae, n=200, seed=0):
    """
    Draws of the prior with their surfaces: what sizes are plausible, and where a fit can start.

    Surfaces are carried along from one in the middle of their kind (4 ms a socket); lengths and
    perimeters are within 1 %, mostly, of those of surfaces fitted to each.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    n : int
        How many.
    seed : int

    Returns
    -------
    Population
    """
    codes = aae.draw_prior(n, seed)
    kinds = kinds_of(aae, codes)
    surfaces = np.empty(n, object)
    for kind in np.unique(kinds):
        of_kind = kinds == kind
        middle = _Carried.at(aae, codes[of_kind].mean(axis=0))
        surfaces[of_kind] = middle.surfaces(codes[of_kind])
    return Population(codes, list(surfaces), kinds)


def attribute_directions(
    aae, code, names=ATTRIBUTES, labelled=None, change=0.04, n_others=60, seed=0
):
    """
    Directions in the latent space, each of which changes one attribute and holds the others.

    From the attributes' slopes at the code comes the smallest step, in standard deviations of the
    prior, that adds one unit to one attribute, where a drift of another one by 1 % of its value
    counts like one standard deviation. With free drift that is the slope itself, without any it is
    a column of the slopes' pseudo-inverse.

    The step is as long as a change by `change` takes, which the slope alone is slightly off.

    A decoder with one linear model a kind gives the same code other meanings in each: directions
    hold for sockets of the code's kind.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    code : (code_size,) array
        Where to start.
    names : sequence of str
        Scalars of `SocketSurface.measure`; a volume is in mm3.
    labelled : (codes, kinds), optional
        (n, code_size) and (n,), of two kinds: gives the direction "kind" too, from the kind whose
        name comes first to the other.
    change : float
        By which part of its value each attribute is changed to measure the effect.
    n_others : int
        Draws of the prior, of the code's kind, on which reliability is measured.
    seed : int
        Of these draws.

    Returns
    -------
    dict of AttributeDirection
        By name.

    Raises
    ------
    ValueError
        If a name is unknown, the model's sockets have no size, or `labelled` has not two kinds.
    """
    _needs_size(aae)
    code, names, std = np.asarray(code, float), list(names), aae.recipe.prior_std
    here = _Carried.at(aae, code)
    values = _values(here.surface, names)
    slopes = here.slopes(code, names)
    scales = _HELD * np.abs(values)
    reliability = _reliability(aae, here, code, slopes, names, n_others, seed)
    held = slopes / scales[:, None]
    steps = [_lone_step(slopes[i], np.delete(held, i, axis=0)) * std for i in range(len(names))]
    found = {}
    for i, name in enumerate(names):
        wanted = change * values[i]

        def changed_by(step, wanted=wanted):
            return _values(decoded_surface(aae, code + wanted * step), names) - values

        changed = changed_by(steps[i])
        # The way is slightly bent: as long as it takes to have that change, not the first mm.
        if 1 / _BENT < changed[i] / wanted < _BENT:
            steps[i] = steps[i] * wanted / changed[i]
            changed = changed_by(steps[i])
        leak = dict(zip(names, changed / values, strict=True))
        del leak[name]
        effect = changed[i] / wanted
        found[name] = AttributeDirection(name, values[i], steps[i], reliability[i], effect, leak)
    if labelled is not None:
        slope, accuracy = _kind_slope(*labelled, std)
        step = _lone_step(slope, held) * std
        value = float(slope @ code / std)
        found["kind"] = AttributeDirection("kind", value, step, accuracy, np.nan, {})
    return found


def move(aae, code, attribute, by, held=ATTRIBUTES):
    """
    The code whose socket has one attribute changed by so much, and others held.

    The nearest such code, in standard deviations of the prior, where a drift of a held attribute by
    1 % of its value counts like one standard deviation: where a change cannot be had alone, the
    others give way. The kind stays.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    code : (code_size,) array
    attribute : str
        A scalar of `SocketSurface.measure`.
    by : float
        In its unit: mm, mm2 or mm3.
    held : sequence of str
        Attributes to hold.

    Returns
    -------
    (code_size,) float32 array

    Raises
    ------
    ValueError
        If an attribute is unknown or the model's sockets have no size.
    """
    _needs_size(aae)
    code = np.asarray(code, np.float32)
    names = [attribute, *(name for name in held if name != attribute)]
    values = _values(decoded_surface(aae, code), names)
    # Little beside what a step costs: the change is met, the others give way.
    tolerances = np.append(_tolerance(attribute, values[0]) / 10, _HELD * np.abs(values[1:]))
    wanted = values + np.append(by, np.zeros(len(values) - 1))
    targets = _Targets(names, wanted, tolerances, np.zeros(len(names), bool), code)
    return _settle(aae, targets, code)[0]


def fit(aae, wanted, kind=None, start=None, nearest=False, draws=None):
    """
    Design by measurement: the most plausible socket that has wanted sizes.

    Maximum a posteriori: the code that minimizes squared differences from the wanted sizes, in
    tolerances (1 mm for lengths and heights, 0.5 % for perimeters, 1 % for areas and volumes), plus
    its squared length in standard deviations of the prior. Found by least squares (Moré 1978) on a
    surface that moves along with the decoder's points, fitted anew until both agree.

    Parameters
    ----------
    aae : AdversarialAutoencoder
        Of "dataset" normalization: only its sockets have a size.
    wanted : dict
        Scalars of `SocketSurface.measure`, such as ``length_mm``, and ``perimeters_mm``: a dict
        from heights above the distal end to perimeters, mm. The brim is kept above all of them.
    kind : {"TT", "TF"}, optional
        Needs a decoder with one linear model a kind. None: the more plausible one, or that of
        `start`.
    start : (code_size,) array, optional
        Where to start; None: the draw of the prior that is nearest to what is wanted.
    nearest : bool
        Get as near as possible to sizes out of the plausible range instead of refusing them.
    draws : Population, optional
        What `population` made, to fit many sockets with; None: it is made anew (1 s).

    Returns
    -------
    Design

    Raises
    ------
    ValueError
        If nothing is wanted, a name is unknown, a value is no positive number or, unless `nearest`,
        outside of what draws of the prior (of that kind) have, by more than a quarter of their
        range; if the kind is unknown to the model or the model's sockets have no size.
    """
    _needs_size(aae)
    names, values = _flatten(wanted)
    targets = _Targets.to_fit(names, values)
    if kind is None and start is not None:
        kind = _kind(aae, start) or None
    draws = _of_kind(aae, draws or population(aae), kind)
    sizes = np.array([_values(surface, targets.names) for surface in draws.surfaces])
    if not nearest:
        _check_plausible(targets, sizes)
    misses = (targets.misses(sizes) ** 2).sum(axis=1)
    found = []
    for kind in np.unique(draws.kinds):
        of_kind = np.flatnonzero(draws.kinds == kind)
        middle = _middle(aae, draws.codes[of_kind])
        first = draws.codes[of_kind[misses[of_kind].argmin()]] if start is None else start
        first = middle + _within_kind(aae) @ first
        found.append(_design(aae, replace(targets, middle=middle), first))
    return min(found, key=lambda pair: pair[1])[0]


# Surfaces that move along ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Carried:
    """
    A code's surface, carried along by the decoder's points to other codes.

    Point i of a decoder is at about the same place on every socket. So a surface need not be fitted
    again: each of its nodes moves as the nearest points do.

    Attributes
    ----------
    cloud : numpy.ndarray
        (n_points, 3), mm.
    surface : SocketSurface
        Fitted to it.
    weights : csr_array
        (nodes, n_points), of the points in each node's movement; rows sum to 1.
    """

    aae: object
    cloud: np.ndarray
    surface: SocketSurface
    weights: csr_array

    @classmethod
    def at(cls, aae, code):
        cloud = aae.decode(np.asarray(code)[None])[0].astype(float)
        surface = decoded_surface(aae, code)
        nodes = surface.vertices.reshape(-1, 3)
        distances, nearest = cKDTree(cloud).query(nodes, _CARRIERS + 1)
        # Points come in and go out gradually: the next nearest one would have no weight.
        weights = 1 - (distances[:, :-1] / distances[:, -1:]) ** 2 + 1e-6
        weights /= weights.sum(axis=1, keepdims=True)
        ends = np.arange(len(nodes) + 1) * _CARRIERS
        shape = (len(nodes), len(cloud))
        return cls(
            aae, cloud, surface, csr_array((weights.ravel(), nearest[:, :-1].ravel(), ends), shape)
        )

    def surfaces(self, codes):
        """The surface carried to codes (n, code_size)."""
        grid = self.surface.vertices
        moves = self.aae.decode(codes) - self.cloud
        return [SocketSurface(grid + (self.weights @ way).reshape(grid.shape)) for way in moves]

    def values(self, codes, names):
        """Sizes (n, n_names) of the surface carried to codes (n, code_size)."""
        return np.array([_values(surface, names) for surface in self.surfaces(codes)])

    def slopes(self, code, names):
        """Changes (n_names, code_size) of sizes by a standard deviation of each number, in kind."""
        step = _STEP * self.aae.recipe.prior_std
        ways = step * _within_kind(self.aae)
        values = self.values(np.concatenate([code + ways, code - ways]), names)
        plus, minus = values.reshape(2, len(code), len(names))
        return (plus - minus).T / (2 * _STEP)


# Least squares --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Targets:
    """
    Sizes that a code is wanted to have, and the code that is wanted else.

    Attributes
    ----------
    names : list
        Of n sizes, see `_values`.
    values, tolerances : numpy.ndarray
        (n,).
    at_least : numpy.ndarray
        (n,) bool: sizes that may be larger than wanted.
    middle : numpy.ndarray
        (code_size,).
    """

    names: list
    values: np.ndarray
    tolerances: np.ndarray
    at_least: np.ndarray
    middle: np.ndarray = None

    @classmethod
    def to_fit(cls, names, values):
        """Targets of `fit`: sizes within their tolerances, and a brim above all perimeters."""
        tolerances = [_tolerance(*pair) for pair in zip(names, values, strict=True)]
        heights = [name for name in names if not isinstance(name, str)]
        names, at_least = list(names), [False] * len(names)
        if heights:
            names.append("brim_height_min_mm")
            values = np.append(values, max(heights))
            tolerances.append(_LENGTH_TOLERANCE)
            at_least.append(True)
        return cls(names, values, np.array(tolerances), np.array(at_least))

    def misses(self, sizes):
        """Differences (..., n) of sizes from wanted ones, in tolerances."""
        differences = (sizes - self.values) / self.tolerances
        return np.where(self.at_least, np.minimum(differences, 0), differences)


def _settle(aae, targets, start):
    """The code (code_size,) that meets targets best and its surface, see `fit`."""
    std, code = aae.recipe.prior_std, np.asarray(start, float)
    carried = _Carried.at(aae, code)
    for _ in range(_ROUNDS):
        # Sizes are nearly linear in the code: their slopes serve a whole round.
        sizes = carried.slopes(code, targets.names) / targets.tolerances[:, None]

        def residuals(z, carried=carried):
            misses = targets.misses(carried.values(std * z[None], targets.names)[0])
            return np.concatenate([misses, z - targets.middle / std])

        def slopes(z, sizes=sizes, residuals=residuals):
            met = targets.at_least & (residuals(z)[: len(sizes)] == 0)
            return np.vstack([np.where(met[:, None], 0, sizes), np.eye(len(z))])

        found = least_squares(
            residuals, code / std, slopes, method="lm", xtol=1e-3, ftol=1e-3, max_nfev=20
        )
        code = std * found.x
        predicted = carried.values(code[None], targets.names)[0]
        carried = _Carried.at(aae, code)
        off = _values(carried.surface, targets.names) - predicted
        if np.all(np.abs(off) < _SETTLED * targets.tolerances):
            break
    return code.astype(np.float32), carried.surface


def _design(aae, targets, start):
    """The `Design` that meets targets best, and what of the objective is left."""
    code, surface = _settle(aae, targets, start)
    measured = _values(surface, targets.names)
    squared = float(((code / aae.recipe.prior_std) ** 2).sum())
    wanted = [name for name, more in zip(targets.names, targets.at_least, strict=True) if not more]
    design = Design(
        code,
        aae.decode(code[None])[0],
        surface,
        _unflatten(wanted, measured),
        _unflatten(wanted, targets.values - measured),
        float(np.sqrt(squared / len(code))),
        float(100 * chi2.cdf(squared, len(code))),
    )
    away = (code - targets.middle) / aae.recipe.prior_std
    return design, (away**2).sum() + (targets.misses(measured) ** 2).sum()


# Attributes -----------------------------------------------------------------------------------


def _lone_step(slope, held):
    """
    The smallest step (code_size,) along which something grows by 1 and others drift little.

    Minimizes |step|^2 + |held step|^2 with slope step = 1; slope (code_size,), held (n, code_size).
    """
    step = np.linalg.solve(np.eye(len(slope)) + held.T @ held, slope)
    return step / (slope @ step)


def _reliability(aae, here, code, slopes, names, n, seed):
    """R^2 (n_names,) of sizes that slopes at the code predict on draws of the prior of its kind."""
    # Half of a prior's draws, or fewer, are of the kind.
    draws = aae.draw_prior(20 * n, seed)
    draws = draws[kinds_of(aae, draws) == kinds_of(aae, code[None])][:n]
    true = here.values(draws, names)
    away = (draws - code) / aae.recipe.prior_std
    predicted = _values(here.surface, names) + away @ slopes.T
    return r2_score(true, predicted, multioutput="raw_values")


def _kind_slope(codes, kinds, std):
    """Slope (code_size,) by z of a score that grows by 1 from kind to kind, and its accuracy."""
    codes, kinds = np.asarray(codes) / std, np.asarray(kinds)
    names = np.unique(kinds)
    if len(names) != 2:
        raise ValueError(f"`labelled` has the kinds {names.tolist()}; a direction is between two")
    told = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    accuracy = cross_val_score(told, codes, kinds, cv=5).mean()
    slope = told.fit(codes, kinds).coef_[0]
    apart = codes[kinds == names[1]].mean(axis=0) - codes[kinds == names[0]].mean(axis=0)
    return slope / (slope @ apart), float(accuracy)


# Kinds ----------------------------------------------------------------------------------------


def _tells_kinds(aae):
    return aae.recipe.linear_models == len(sources.KINDS)


def _kind(aae, code):
    return kinds_of(aae, np.asarray(code)[None])[0]


def _kind_scores(aae, codes):
    """Logits (n, n_kinds) of the gates of the decoder's linear models."""
    linear = aae.decoder.get_layer("linear")
    return np.asarray(codes) @ np.asarray(linear.gate_kernel) + np.asarray(linear.gate_bias)


def _within_kind(aae):
    """
    Projection (code_size, code_size) on what of a code does not move the gates.

    A gate is so steep that next to it slopes tell the difference of two kinds.
    """
    if not _tells_kinds(aae):
        return np.eye(aae.recipe.code_size)
    gates = np.diff(np.asarray(aae.decoder.get_layer("linear").gate_kernel, float)).T
    return np.eye(aae.recipe.code_size) - np.linalg.pinv(gates) @ gates


def _middle(aae, codes):
    """The middle (code_size,) of the prior of one kind: apart from the gates it is the origin."""
    mean = codes.mean(axis=0)
    return mean - _within_kind(aae) @ mean


def _of_kind(aae, draws, kind):
    """Draws of a kind; all if it is None."""
    if kind is None:
        return draws
    if kind not in sources.KINDS or not _tells_kinds(aae):
        known = " and ".join(sources.KINDS) if _tells_kinds(aae) else "no kinds"
        raise ValueError(
            f"kind is {kind!r}; the model tells {known}: leave it out, and give a `start` of the "
            "wanted kind"
        )
    chosen = np.flatnonzero(draws.kinds == kind)
    return Population(draws.codes[chosen], [draws.surfaces[i] for i in chosen], draws.kinds[chosen])


# Sizes ----------------------------------------------------------------------------------------


def _values(surface, names):
    """Sizes (n_names,); names are those of scalars of `measure`, or heights of perimeters, mm."""
    sizes = surface.measure() if any(isinstance(name, str) for name in names) else {}
    heights = [name for name in names if not isinstance(name, str)]
    if heights:
        levels = surface.vertices[..., 2] - surface.vertices[..., 2].min()
        perimeters, _ = section_sizes(surface.vertices, levels, np.array(heights, float))
        sizes |= dict(zip(heights, perimeters, strict=True))
    scalars = [name for name, size in sizes.items() if not isinstance(size, list)]
    unknown = [name for name in names if name not in scalars]
    if unknown:
        raise ValueError(f"no measurement is called {unknown[0]!r}; there are {scalars}")
    return np.array([sizes[name] for name in names], float)


def _closed(surface, heights):
    """Whether sections at heights (n,) are closed all around, (n,) bool."""
    levels = surface.vertices[..., 2]
    return np.asarray(heights, float) <= levels[:, -1].min() - levels.min()


def _tolerance(name, value):
    if not isinstance(name, str) or "perimeter" in name:
        return _PERIMETER_TOLERANCE * abs(value)
    return _LENGTH_TOLERANCE if name.endswith("_mm") else _SIZE_TOLERANCE * abs(value)


def _flatten(wanted):
    """Names and values (n,) of wanted sizes; a perimeter's name is its height."""
    flat = {name: value for name, value in wanted.items() if name != _PERIMETERS}
    flat |= {float(height): value for height, value in wanted.get(_PERIMETERS, {}).items()}
    if not flat:
        raise ValueError("nothing is wanted; give a length_mm, perimeters_mm or other sizes")
    for name, value in flat.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{_label(name)} is {value}; a size is positive and finite")
    low = [name for name in flat if not isinstance(name, str) and not name > 0]
    if low:
        raise ValueError(f"a perimeter is wanted at {low[0]} mm; heights are above 0")
    return list(flat), np.array(list(flat.values()), float)


def _unflatten(names, values):
    """The other way round."""
    pairs = list(zip(names, values.tolist(), strict=False))
    sizes = {name: value for name, value in pairs if isinstance(name, str)}
    perimeters = {name: value for name, value in pairs if not isinstance(name, str)}
    return sizes | ({_PERIMETERS: perimeters} if perimeters else {})


def _label(name):
    return name if isinstance(name, str) else f"the perimeter at {name:g} mm"


def _check_plausible(targets, sizes):
    """Refuse targets unlike draws of the prior, whose sizes are (n_draws, n)."""
    margins = _MARGIN * np.ptp(sizes, axis=0)
    lows, highs = sizes.min(axis=0) - margins, sizes.max(axis=0) + margins
    lows[targets.at_least] = 0
    for name, value, low, high in zip(targets.names, targets.values, lows, highs, strict=True):
        if not low <= value <= high:
            raise ValueError(
                f"{_label(name)} is {value:g}; sockets that the model knows have {low:.4g} to "
                f"{high:.4g}: change it, or ask for the nearest socket (nearest=True)"
            )


def _needs_size(aae):
    if aae.recipe.normalization != "dataset":
        raise ValueError(
            f"the model's normalization is {aae.recipe.normalization!r}, and its sockets have no "
            'size; sizes need one with "dataset"'
        )
