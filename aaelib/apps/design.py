"""Sockets by measurement: change one size and hold the others, or ask for given sizes."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from scipy.special import softmax

from ..shapes.sockets import SocketSurface, section_sizes
from ..shapes.sources import KINDS

# Attribute -> its title, a slider's unit in that of `SocketSurface.measure`, its end and step.
SLIDERS = {
    "length_mm": ("length, mm", 1, 40, 1),
    "volume_mm3": ("volume, ml", 1000, 400, 10),
    "brim_height_mean_mm": ("brim height, mm", 1, 40, 1),
    "proximal_perimeter_mm": ("proximal perimeter, mm", 1, 50, 1),
    "distal_perimeter_mm": ("distal perimeter, mm", 1, 30, 1),
}
ATTRIBUTES = tuple(SLIDERS)

# Of surfaces: a decoder's points scatter about its own, more than a scan's do.
SMOOTHING = 0.1

_STEP = 0.3  # of finite differences, in standard deviations of the prior: past a brim's kinks
_HELD = 0.01  # of a size: a drift by so much costs as much as one standard deviation
_LENGTH_TOLERANCE = 1.0  # mm
_PERIMETER_TOLERANCE = 0.005  # of the value
_SIZE_TOLERANCE = 0.01  # of the value: areas, volumes
_AGREEMENT = 0.3  # tolerances between a deformed surface and one that is fitted anew
_ROUNDS = 6


@dataclass(frozen=True)
class AttributeDirection:
    """
    How to change one attribute of a socket and hold the others, see `attribute_directions`.

    Attributes
    ----------
    value : float
        The attribute at the code where the direction was found.
    step : numpy.ndarray
        (code_size,), what to add to the code for one more unit (mm, mm2 or mm3); for "kind", to go
        from the first kind to the second.
    reliability : float
        R^2 with which the attribute's slope at the code predicts it on other sockets of the prior:
        1 if the slope holds everywhere, 0 or less if it holds nearby only. For "kind" the
        cross-validated accuracy with which the direction tells the kinds apart, [0, 1].
    wanted : float
        A change of the attribute by 4 % of its value, in its unit; nan for "kind".
    measured : float
        The change that a surface fitted to the decoded socket has after ``wanted * step``; nan for
        "kind".
    leak : dict
        The change of each other attribute by the same step, as a share of its value; empty for
        "kind".
    """

    value: float
    step: np.ndarray
    reliability: float
    wanted: float = np.nan
    measured: float = np.nan
    leak: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Design:
    """
    A socket made to measure, see `fit_sizes` and `condition_on_sizes`.

    Attributes
    ----------
    code : numpy.ndarray
        (code_size,) float32, or the weights (n_modes,) of a shape model.
    surface : SocketSurface
        Fitted to the decoded code, or of the weights, mm.
    shortfalls : dict
        Wanted minus measured size, by the name of the size or, for a perimeter, its height in mm.
    distance : float
        From the prior's mean: the root mean square of the code's numbers in standard deviations of
        the prior, about 1 for a draw. The larger it is, the less the socket is like those that the
        model has learnt.
    """

    code: np.ndarray
    surface: SocketSurface
    shortfalls: dict
    distance: float


class Population(NamedTuple):
    """Draws of the prior: codes (n, code_size), their surfaces, and their kinds (n,)."""

    codes: np.ndarray
    surfaces: list
    kinds: np.ndarray


def decoded_surface(aae, code):
    """Surface of the socket that a code (code_size,) decodes to."""
    return SocketSurface.from_points(aae.decode(np.asarray(code)[None])[0], smoothing=SMOOTHING)


def population(aae):
    """
    Draw sockets from the prior: a `Population` to learn plausible sizes from, in about 1 s.

    The draws of a kind share one fitted surface, deformed to each: lengths and perimeters are
    mostly within 1 % of those of surfaces that are fitted one by one.
    """
    codes = aae.draw_prior(200, 0)  # enough to know the range of their sizes
    kinds = kinds_of(aae, codes)
    surfaces = np.empty(len(codes), object)
    for kind in np.unique(kinds):
        of_kind = kinds == kind
        template = Template(aae, codes[of_kind].mean(axis=0))
        surfaces[of_kind] = template.surfaces(codes[of_kind])
    return Population(codes, list(surfaces), kinds)


def attribute_directions(aae, code, labelled=None):
    """
    Directions in the latent space, each of which changes one of `ATTRIBUTES` and holds the others.

    The attributes' slopes at the code give the smallest step, in standard deviations of the prior,
    that adds one unit to one attribute, where a drift of another by 1 % of its value costs as much
    as one standard deviation. (Were drift free, that step would be the slope itself; were it
    forbidden, a column of the pseudo-inverse of the slopes.) Sizes are not quite linear in the
    code, so the step for a change by 4 % is taken and the changes of all sizes are measured.

    A decoder with one linear model per kind gives a code another meaning in each kind: directions
    hold for sockets of the code's kind.

    Parameters
    ----------
    aae : AdversarialAutoencoder
        With "dataset" normalization.
    code : (code_size,) array
        Where to start.
    labelled : (codes, kinds), optional
        (n, code_size) and (n,), with two kinds: adds the direction "kind", from the kind whose name
        comes first to the other (linear discriminant analysis).

    Returns
    -------
    dict of AttributeDirection
        By name.

    Raises
    ------
    ValueError
        If the model's sockets have no size, or `labelled` does not have two kinds.
    """
    check_has_size(aae)
    code, std = np.asarray(code, float), aae.recipe.prior_std
    template = Template(aae, code)
    values = measured(template.surface, ATTRIBUTES)
    slopes = template.slopes(code, ATTRIBUTES)
    held = slopes / (_HELD * np.abs(values))[:, None]
    reliability = _reliability(template, code, slopes)

    found = {}
    for i, name in enumerate(ATTRIBUTES):
        step = _lone_step(slopes[i], np.delete(held, i, axis=0)) * std
        wanted = 0.04 * values[i]
        changes = measured(decoded_surface(aae, code + wanted * step), ATTRIBUTES) - values
        leak = dict(zip(ATTRIBUTES, changes / values, strict=True))
        del leak[name]
        found[name] = AttributeDirection(values[i], step, reliability[i], wanted, changes[i], leak)
    if labelled is not None:
        slope, accuracy = _kind_slope(*labelled, std)
        step = _lone_step(slope, held) * std
        found["kind"] = AttributeDirection(float(slope @ code / std), step, accuracy)
    return found


def change_size(aae, code, attribute, by):
    """
    Change one size of a code's socket and hold the `ATTRIBUTES`.

    Of all codes with that change the nearest one is found, in standard deviations of the prior,
    where a drift of a held attribute by 1 % of its value costs as much as one standard deviation:
    if the size cannot change alone, the others give way. The kind stays.

    Parameters
    ----------
    aae : AdversarialAutoencoder
        With "dataset" normalization.
    code : (code_size,) array
    attribute : str
        The name of a number that `SocketSurface.measure` gives.
    by : float
        Change, in the attribute's unit: mm, mm2 or mm3.

    Returns
    -------
    (code_size,) float32 array

    Raises
    ------
    ValueError
        If the attribute is unknown or the model's sockets have no size.
    """
    check_has_size(aae)
    code = np.asarray(code, np.float32)
    names = [attribute, *(name for name in ATTRIBUTES if name != attribute)]
    values = measured(decoded_surface(aae, code), names)
    # A tenth of the tolerance, so that the change is met and the others give way.
    tolerances = np.append(tolerance(attribute, values[0]) / 10, _HELD * np.abs(values[1:]))
    wanted = values + np.append(by, np.zeros(len(values) - 1))
    targets = Targets(names, wanted, tolerances, np.zeros(len(names), bool))
    return _solve(aae, targets, code, middle=code)[0]


def fit_sizes(aae, wanted, nearest=False, draws=None):
    """
    Find the most plausible socket with wanted sizes.

    Maximum a posteriori: the code that minimizes the squared differences from the wanted sizes, in
    tolerances (1 mm for lengths and heights, 0.5 % for perimeters, 1 % for areas and volumes), plus
    its squared length in standard deviations of the prior. Levenberg-Marquardt least squares (Moré
    1978) on a surface that moves with the decoded points, fitted anew until both agree. Each kind
    that the model knows is tried.

    Parameters
    ----------
    aae : AdversarialAutoencoder
        With "dataset" normalization.
    wanted : dict
        Numbers by their names in `SocketSurface.measure`, such as ``length_mm``, and
        ``perimeters_mm``: a dict from heights above the distal end to perimeters, mm. The heights
        may also be names themselves. The brim is kept above all of them.
    nearest : bool
        Get as near as possible to sizes that are not plausible, instead of raising.
    draws : Population, optional
        From `population`, to save time where many sockets are made.

    Returns
    -------
    Design

    Raises
    ------
    ValueError
        If nothing is wanted, a name is unknown, a value is not a positive number, the model's
        sockets have no size or, unless `nearest`, a value is out of the range of the prior's draws
        by more than a quarter of that range.
    """
    check_has_size(aae)
    targets = targets_for(wanted)
    found = fitted(aae, targets, draws or population(aae), nearest).values()
    return min(found, key=lambda each: each[0])[1]


def middle_of(aae, draws, kind):
    """The prior's mean within a kind of a population: the origin but for what tells kinds apart."""
    mean = draws.codes[draws.kinds == kind].mean(axis=0)
    return mean - within_kind(aae) @ mean


def fitted(aae, targets, draws, nearest=False):
    """Kind -> cost of its most plausible socket, and the `Design`; errors are of `fit_sizes`."""
    sizes = np.array([measured(surface, targets.names) for surface in draws.surfaces])
    if not nearest:
        check_plausible(targets, sizes)
    misses, found = (targets.misses(sizes) ** 2).sum(axis=1), {}
    for kind in np.unique(draws.kinds):
        middle = middle_of(aae, draws, kind)
        start = draws.codes[np.where(draws.kinds == kind, misses, np.inf).argmin()]
        code, surface = _solve(aae, targets, middle + within_kind(aae) @ start, middle)
        found[kind] = _designed(code, surface, targets, code - middle, aae.recipe.prior_std)
    return found


def _designed(code, surface, targets, away, std=1.0):
    """Cost of a socket that is so far `away` from the most plausible one, and its `Design`."""
    sizes = measured(surface, targets.names)
    cost = ((away / std) ** 2).sum() + (targets.misses(sizes) ** 2).sum()
    distance = float(np.sqrt(np.mean((code / std) ** 2)))
    return cost, Design(code, surface, targets.shortfalls(sizes), distance)


def condition_on_sizes(shape_models, wanted):
    """
    Find the most plausible socket of linear shape models with wanted sizes: a baseline.

    Gaussian conditioning (posterior shape models, Albrecht et al. 2013): weights w are standard
    normal, and sizes known up to the tolerances of `fit_sizes`. With the sizes linearized as
    s + A w, in tolerances, the mean of the weights given the wanted sizes b is
    (A^T A + I)^-1 A^T (b - s). Sizes are not quite linear, so more steps follow from there, damped
    as in `fit_sizes` (iterated Kalman filter update, Bell and Cathey 1993).

    Parameters
    ----------
    shape_models : dict of str to ShapeModel
        A model for each kind; each is tried, as in `fit_sizes`.
    wanted : dict
        As for `fit_sizes`.

    Returns
    -------
    Design
        Its code has the weights of the more plausible kind.

    Raises
    ------
    ValueError
        If nothing is wanted, a name is unknown or a value is not a positive number.
    """
    targets = targets_for(wanted)
    found = [conditional(model, targets) for model in shape_models.values()]
    return min(found, key=lambda each: each[0])[1]


# Least squares --------------------------------------------------------------------------------


class Template:
    """
    A surface fitted at one code, deformed to other codes.

    Point i of a decoder is at about the same place on every socket. So no surface need be fitted
    again: each of its nodes moves as the nearest decoded points do.
    """

    def __init__(self, aae, code):
        self.aae, self.surface = aae, decoded_surface(aae, code)
        self.cloud = aae.decode(np.asarray(code)[None])[0].astype(float)
        nodes = self.surface.vertices.reshape(-1, 3)
        # Eight points move a node.
        distances, nearest = cKDTree(self.cloud).query(nodes, 8 + 1)
        # Points come in and go out gradually: the next nearest one would have no weight.
        weights = 1 - (distances[:, :-1] / distances[:, -1:]) ** 2 + 1e-6
        weights /= weights.sum(axis=1, keepdims=True)
        ends = np.arange(len(nodes) + 1) * 8
        self.weights = csr_array(
            (weights.ravel(), nearest[:, :-1].ravel(), ends), (len(nodes), len(self.cloud))
        )

    def surfaces(self, codes):
        """Surfaces of codes (n, code_size)."""
        grid = self.surface.vertices
        moves = self.aae.decode(codes) - self.cloud
        return [SocketSurface(grid + (self.weights @ way).reshape(grid.shape)) for way in moves]

    def sizes(self, codes, names):
        """Sizes (n, n_names) of codes (n, code_size)."""
        return np.array([measured(surface, names) for surface in self.surfaces(codes)])

    def slopes(self, code, names):
        """Changes (n_names, code_size) of sizes by a standard deviation of each number, in kind."""
        ways = _STEP * self.aae.recipe.prior_std * within_kind(self.aae)
        values = self.sizes(np.concatenate([code + ways, code - ways]), names)
        plus, minus = values.reshape(2, len(code), len(names))
        return (plus - minus).T / (2 * _STEP)


@dataclass(frozen=True)
class Targets:
    """Wanted sizes (n,), of which some may be exceeded."""

    names: list
    values: np.ndarray
    tolerances: np.ndarray
    at_least: np.ndarray

    def misses(self, sizes):
        """Differences (..., n) of sizes from wanted ones, in tolerances."""
        differences = (sizes - self.values) / self.tolerances
        return np.where(self.at_least, np.minimum(differences, 0), differences)

    def shortfalls(self, sizes):
        """Name -> wanted minus measured size (n,), of the targets that may not be exceeded."""
        lacks = zip(self.names, (self.values - sizes).tolist(), self.at_least, strict=True)
        return {name: lack for name, lack, at_least in lacks if not at_least}


def targets_for(wanted):
    """Targets of `fit_sizes`: the wanted sizes, and a brim above all perimeters."""
    sizes = dict(wanted)
    # The name of a perimeter is its height, mm.
    sizes |= {float(height): value for height, value in sizes.pop("perimeters_mm", {}).items()}
    if not sizes:
        raise ValueError("nothing is wanted; give a length_mm, perimeters_mm or other sizes")
    for name, value in sizes.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{label(name)} is {value}; a size is positive and finite")
        if not isinstance(name, str) and not name > 0:
            raise ValueError(f"a perimeter is wanted at {name} mm; heights are above 0")
    targets = [*sizes.items()]
    if heights := [name for name in sizes if not isinstance(name, str)]:
        targets.append(("brim_height_min_mm", max(heights)))
    names, values = map(list, zip(*targets, strict=True))
    tolerances = np.array([tolerance(*target) for target in targets])
    return Targets(names, np.array(values, float), tolerances, np.arange(len(names)) >= len(sizes))


def _solve(aae, targets, start, middle):
    """Code (code_size,) near `middle` that meets targets best, and its surface."""
    std, names = aae.recipe.prior_std, targets.names
    code = np.asarray(start, float)
    template = Template(aae, code)
    for _ in range(_ROUNDS):

        def sizes_of(numbers, template=template):
            return template.sizes(std * numbers[None], names)[0]

        slopes = template.slopes(code, names)
        code = std * _most_plausible(sizes_of, slopes, targets, code / std, middle / std)
        predicted = template.sizes(code[None], names)[0]
        template = Template(aae, code)
        off = measured(template.surface, names) - predicted
        if np.all(np.abs(off) < _AGREEMENT * targets.tolerances):
            break
    return code.astype(np.float32), template.surface


def conditional(model, targets):
    """
    Cost of the mean of a shape model's weights given targets, its `Design`, and slopes there.
    """

    def sizes_of(weights):
        return measured(model.surface(weights), targets.names)

    mean, steps = np.zeros(model.n_modes), _STEP * np.eye(model.n_modes)
    weights, sizes = mean, sizes_of(mean)
    for _ in range(_ROUNDS):
        changes = [sizes_of(weights + step) - sizes_of(weights - step) for step in steps]
        slopes = np.transpose(changes) / (2 * _STEP)
        weights = _most_plausible(sizes_of, slopes, targets, weights, mean)
        before, sizes = sizes, sizes_of(weights)
        if np.all(np.abs(sizes - before) < _AGREEMENT * targets.tolerances):
            break
    return *_designed(weights, model.surface(weights), targets, weights), slopes


def _most_plausible(sizes_of, slopes, targets, start, middle):
    """
    Numbers (n,) that minimize squared misses plus squared distance from `middle` (n,).

    Numbers are in standard deviations. Their sizes are nearly linear in them: the slopes
    (n_sizes, n) of one place serve all steps.
    """
    slopes = slopes / targets.tolerances[:, None]

    def residuals(numbers):
        return np.append(targets.misses(sizes_of(numbers)), numbers - middle)

    def derivative(numbers):
        met = targets.at_least & (residuals(numbers)[: len(slopes)] == 0)
        return np.vstack([np.where(met[:, None], 0, slopes), np.eye(len(numbers))])

    found = least_squares(
        residuals, start, derivative, method="lm", xtol=1e-3, ftol=1e-3, max_nfev=20
    )
    return found.x


# Attributes -----------------------------------------------------------------------------------


def _lone_step(slope, held):
    """Step that minimizes |step|^2 + |held step|^2 with slope step = 1; held (n, code_size)."""
    step = np.linalg.solve(np.eye(len(slope)) + held.T @ held, slope)
    return step / (slope @ step)


def _reliability(template, code, slopes):
    """R^2 of each attribute as predicted by its slope on draws of the prior of the code's kind."""
    from sklearn.metrics import r2_score

    aae = template.aae
    # Half of a prior's draws, or fewer, are of the kind; 60 are enough.
    draws = aae.draw_prior(1200, seed=0)
    draws = draws[kinds_of(aae, draws) == kinds_of(aae, code[None])][:60]
    true = template.sizes(draws, ATTRIBUTES)
    away = (draws - code) / aae.recipe.prior_std
    predicted = measured(template.surface, ATTRIBUTES) + away @ slopes.T
    return r2_score(true, predicted, multioutput="raw_values")


def _kind_slope(codes, kinds, std):
    """Slope of a discriminant that grows by 1 from kind to kind, and its accuracy."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import cross_val_score

    codes, kinds = np.asarray(codes) / std, np.asarray(kinds)
    names = np.unique(kinds)
    if len(names) != 2:
        raise ValueError(f"`labelled` has the kinds {names.tolist()}; a direction is between two")
    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    accuracy = cross_val_score(discriminant, codes, kinds, cv=5).mean()
    slope = discriminant.fit(codes, kinds).coef_[0]
    apart = codes[kinds == names[1]].mean(axis=0) - codes[kinds == names[0]].mean(axis=0)
    return slope / (slope @ apart), float(accuracy)


# Kinds ----------------------------------------------------------------------------------------


def tells_kinds(aae):
    """Whether the decoder has one linear model per kind, between which codes choose."""
    return aae.recipe.linear_models == len(KINDS)


def kind_logits(aae, codes):
    """Logits (n, n_kinds) with which codes (n, code_size) choose the decoder's linear model."""
    kernel, bias = aae.gates
    return np.asarray(codes) @ kernel + bias


def kinds_of(aae, codes):
    """Kinds (n,) of codes, "TT" or "TF"; "" if the model does not tell kinds."""
    if not tells_kinds(aae):
        return np.full(len(codes), "")
    return np.array(KINDS)[kind_logits(aae, codes).argmax(axis=1)]


def mean_codes(aae, kind=None):
    """Mean code of each kind to try, and bounds of its first number, which tells kinds apart."""
    known = KINDS if tells_kinds(aae) else ()
    if kind not in (None, *known):
        raise ValueError(
            f"kind is {kind!r}, but the model has {' and '.join(known) or 'no kinds'}; accepted: "
            f"{', '.join((*known, 'None'))}"
        )
    draws = aae.draw_prior(4096, seed=0)
    if not known:
        return [(np.zeros(draws.shape[1]), (-np.inf, np.inf))]
    shares = softmax(kind_logits(aae, draws), axis=1)
    members = [draws[shares[:, i] > 0.99] for i, name in enumerate(KINDS) if kind in (None, name)]
    return [(each.mean(axis=0), (each[:, 0].min(), each[:, 0].max())) for each in members]


def within_kind(aae):
    """
    Projector (code_size, code_size) onto the null space of the gate kernel.

    Gates are steep: next to one, a slope would tell the difference between two kinds.
    """
    if not tells_kinds(aae):
        return np.eye(aae.recipe.code_size)
    gates = np.diff(aae.gates[0].astype(float)).T
    return np.eye(aae.recipe.code_size) - np.linalg.pinv(gates) @ gates


# Sizes ----------------------------------------------------------------------------------------


def measured(surface, names):
    """Sizes (n_names,) by names of numbers in `measure`, or by heights of perimeters, mm."""
    heights = [name for name in names if not isinstance(name, str)]
    sizes = surface.heights()
    if not {name for name in names if isinstance(name, str)} <= set(sizes):
        sizes = surface.measure()
    if heights:
        levels = surface.vertices[..., 2] - surface.vertices[..., 2].min()
        perimeters, _ = section_sizes(surface.vertices, levels, np.array(heights, float))
        sizes |= dict(zip(heights, perimeters, strict=True))
    known = [name for name, size in sizes.items() if not isinstance(size, list)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no measurement is called {unknown[0]!r}; there are {known}")
    return np.array([sizes[name] for name in names], float)


def below_brim(surface, names):
    """Names of sizes, without heights of perimeters that a surface does not reach."""
    brim = surface.heights()["brim_height_min_mm"]
    return [name for name in names if isinstance(name, str) or name < brim]


def tolerance(name, value):
    if not isinstance(name, str) or "perimeter" in name:
        return _PERIMETER_TOLERANCE * abs(value)
    return _LENGTH_TOLERANCE if name.endswith("_mm") else _SIZE_TOLERANCE * abs(value)


def label(name):
    return name if isinstance(name, str) else f"the perimeter at {name:g} mm"


def check_plausible(targets, sizes):
    """Raise if a target is far out of the range of sizes (n_draws, n)."""
    margins = 0.25 * np.ptp(sizes, axis=0)
    lows, highs = sizes.min(axis=0) - margins, sizes.max(axis=0) + margins
    lows[targets.at_least] = 0
    for name, value, low, high in zip(targets.names, targets.values, lows, highs, strict=True):
        if not low <= value <= high:
            known = f"sockets that the model knows have {low:.4g} to {high:.4g}"
            change = "change it, or ask for the nearest socket (nearest=True)"
            raise ValueError(f"{label(name)} is {value:g}; {known}: {change}")


def check_has_size(aae):
    """Raise if the model's sockets have no size."""
    if aae.recipe.normalization != "dataset":
        raise ValueError(
            f"the model's normalization is {aae.recipe.normalization!r}, so its sockets have no "
            'size in mm; take a model with "dataset" normalization'
        )
