"""Training, validation and test parts of sets of shapes."""

import numpy as np

PARTS = ("training", "validation", "test")


def split_sockets(shapes, n_scans=None, validation=0.25, test=0.35, seed=0):
    """
    Draw "the scans", and split the rest into validation, test and more to train on, per kind.

    The paper's 30 transtibial and 21 transfemoral scans were not published. As many sockets take
    their place: a condition without augmentation may train on them only, and the augmenting shape
    model may see them only.

    Parameters
    ----------
    shapes : Shapes
    n_scans : dict, optional
        Kind -> number of scans; the paper's by default.
    validation, test : float
        Shares of the rest that go there, above 0 and in all at most 1.
    seed : int

    Returns
    -------
    dict
        "scans", "more", "validation", "test" -> sorted index arrays into `shapes`, disjoint. "more"
        is the remainder: models that may train on all but validation and test have it too.

    Raises
    ------
    ValueError
        If the shares are out of range, or a kind has too few sockets to leave one for validation
        and one for test.
    """
    if not (validation > 0 and test > 0 and validation + test <= 1):
        shares = f"{validation} for validation and {test} for test"
        raise ValueError(f"{shares}: each must be above 0, both together at most 1")
    n_scans = n_scans or {"TT": 30, "TF": 21}
    split = {"scans": [], "more": [], "validation": [], "test": []}
    for kind, members in _shuffled(shapes.kinds, np.random.default_rng(seed), n_scans):
        count = n_scans[kind]
        rest = len(members) - count
        if rest < 2:
            has = f"{len(members)} {kind} sockets ({shapes.source})"
            raise ValueError(f"{has} leave {rest} beside {count} scans; 2 or more are needed")
        held = min(max(1, round(validation * rest)), rest - 1)
        tested = min(max(1, round(test * rest)), rest - held)
        scans, rest = np.split(members, [count])
        parts = scans, *np.split(rest, [held, held + tested])
        for name, part in zip(("scans", "validation", "test", "more"), parts, strict=True):
            split[name].append(part)
    return {name: np.sort(np.concatenate(parts)) for name, parts in split.items()}


def split(kinds, shares=(0.8, 0.1, 0.1), seed=0):
    """
    Split shapes into training, validation and test, classes in proportion.

    Parameters
    ----------
    kinds : (n,) array of str
        The class of each.
    shares : sequence of float
        Of training, validation and test: the first two above 0, in all 1.
    seed : int

    Returns
    -------
    dict
        Each of `PARTS` -> sorted index array, disjoint. A part whose share is above 0 has one or
        more.

    Raises
    ------
    ValueError
        If the shares are out of range, or there are too few shapes for all parts.
    """
    shares = np.asarray(shares, float)
    is_valid = shares.shape == (3,) and (shares >= 0).all() and np.isclose(shares.sum(), 1)
    if not is_valid or min(shares[:2]) == 0:
        names = "shares of training, validation and test, the first two above 0, in all 1"
        raise ValueError(f"the split is {shares.tolist()}; it has {names}, such as 0.8 0.1 0.1")
    if len(kinds) < (wanted := np.count_nonzero(shares)):
        advice = "add shapes, or leave out the test part with a share of 0"
        raise ValueError(f"{len(kinds)} shapes can't be shared out to {wanted} parts; {advice}")
    counts = np.array(proportional_counts(len(kinds), shares))
    for part in np.flatnonzero((counts == 0) & (shares > 0)):
        counts[counts.argmax()] -= 1
        counts[part] += 1
    parts = np.split(interleaved(kinds, seed), np.cumsum(counts)[:-1])
    return {name: np.sort(part) for name, part in zip(PARTS, parts, strict=True)}


def interleaved(kinds, seed):
    """Order shapes at random so that any stretch has the classes about in proportion."""
    rng = np.random.default_rng(seed)
    places = np.empty(len(kinds))
    for _, members in _shuffled(kinds, rng):
        places[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(places, kind="stable")


def at_most(limit, kinds, seed):
    """Draw up to `limit` shapes of each class (all if None): indices, sorted within the class."""
    if limit is None:
        return np.arange(len(kinds))
    if limit < 1:
        raise ValueError(f"limit is {limit}; it must be 1 or more, or None for all")
    drawn = _shuffled(kinds, np.random.default_rng(seed))
    return np.concatenate([np.sort(members[:limit]) for _, members in drawn])


def _shuffled(kinds, rng, order=None):
    """Yield each class and the indices of its members, shuffled."""
    kinds = np.asarray(kinds)
    for kind in np.unique(kinds) if order is None else order:
        yield kind, rng.permutation(np.flatnonzero(kinds == kind))


def proportional_counts(total, sizes):
    """Divide a number in proportion to sizes (a list of int), the rest to the largest fractions."""
    exact = total * np.asarray(sizes, float) / max(1, sum(sizes))
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts.tolist()
