"""The study's tables, each a function from shapes and models to a `pandas.DataFrame`."""

from itertools import product

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from ..metrics import inference
from ..metrics.generative import generative_metrics
from ..metrics.reconstruction import surface_distance
from ..models import latent
from ..shapes.clouds import normalize
from ..shapes.shape_model import generalization, specificity
from ..shapes.sockets import SocketSurface, surface_errors, vertex_values
from .evaluation import GENERATIVE, METRICS

LEVELS = 0.5, 0.8, 0.95, 0.99  # of the prior's regions in which codes are counted
SHARE = "share of sockets within the prior's region"
SPREAD = "spread of each number of the code"

# Costa et al. (2021), VISAPP, abstract: mm, of models of the raw scans.
PUBLISHED = {
    "TT": {"generalization": 6.8, "specificity": 9.7},
    "TF": {"generalization": 10.5, "specificity": 9.8},
}


# Data and shape models ------------------------------------------------------------------------


def sockets(shapes, surfaces, split):
    """
    T1: how many sockets of each kind go where, and how large they are.

    Parameters
    ----------
    shapes : aaelib.shapes.Shapes
    surfaces : sequence of SocketSurface
    split : dict
        Part -> index array.

    Returns
    -------
    pandas.DataFrame
        A row for each kind and part; sizes are means, in mm and litres.
    """
    measures = pd.DataFrame([surface.measure() for surface in surfaces])
    measures["surface_fit_mm"] = [
        surface_distance(cloud, surface.mesh()).mean()
        for cloud, surface in zip(shapes.points, surfaces, strict=True)
    ]
    rows = {}
    for kind, (part, index) in product(np.unique(shapes.kinds), split.items()):
        chosen = measures.iloc[index[shapes.kinds[index] == kind]]
        rows[kind, part] = {
            "sockets": len(chosen),
            "length_mm": chosen.length_mm.mean(),
            "length_min_mm": chosen.length_mm.min(),
            "length_max_mm": chosen.length_mm.max(),
            "proximal_perimeter_mm": chosen.proximal_perimeter_mm.mean(),
            "volume_l": chosen.volume_mm3.mean() / 1e6,
            "surface_fit_mm": chosen.surface_fit_mm.mean(),
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["kind", "part"])
    return table.reset_index("part")


def splits(shapes, split):
    """The part that each socket is in: a row a socket."""
    table = pd.DataFrame({"kind": shapes.kinds, "part": ""}, pd.Index(shapes.names, name="socket"))
    for part, index in split.items():
        table.iloc[index, 1] = part
    return table


def shape_model_curves(model, surfaces, n_modes, n_samples=100, seed=0):
    """
    Compactness, generalization and specificity by number of modes.

    Parameters
    ----------
    model : ShapeModel
    surfaces : sequence of SocketSurface
        Those that it was fitted to.
    n_modes : sequence of int
    n_samples : int
        Draws for the specificity.
    seed : int

    Returns
    -------
    pandas.DataFrame
        Indexed by the number of modes; errors in mm with their standard deviations (`..._sd`).
    """
    drawn = specificity(model, surfaces, n_modes, n_samples, seed)
    found = {"compactness": model.compactness()[np.array(n_modes) - 1]}
    of_all = {"generalization": generalization(surfaces, n_modes), "specificity": drawn}
    for name, errors in of_all.items():
        found |= {name: errors.mean(axis=0), f"{name}_sd": errors.std(axis=0)}
    return pd.DataFrame(found, index=pd.Index(n_modes, name="modes"))


def shape_models(curves, models, unseen):
    """
    T2: each kind's shape model beside the published one.

    Parameters
    ----------
    curves : dict
        Kind -> what `shape_model_curves` gave.
    models : dict
        Kind -> ShapeModel.
    unseen : dict
        Kind -> (clouds (n, n_points, 3) in mm, surfaces) that the model has not seen.

    Returns
    -------
    pandas.DataFrame
        A row a kind; errors in mm.
    """
    rows = {}
    for kind, curve in curves.items():
        last, model = curve.dropna().iloc[-1], models[kind]
        distances = [
            surface_distance(cloud, model.reconstruct(surface).mesh()).mean()
            for cloud, surface in zip(*unseen[kind], strict=True)
        ]
        row = {
            "sockets": model.n_surfaces_,
            "modes": last.name,
            "compactness": last.compactness,
            "modes_for_95_percent": int(np.searchsorted(model.compactness(), 0.95) + 1),
        }
        for name, published in PUBLISHED[kind].items():
            row |= {f"{name}_mm": last[name], f"{name}_mm_sd": last[f"{name}_sd"]}
            row[f"published_{name}_mm"] = published
        row |= {"unseen_surface_mm": np.mean(distances), "unseen_surface_mm_sd": np.std(distances)}
        rows[kind] = row
    return pd.DataFrame(rows).T.rename_axis("kind")


def generators(drawn, reference):
    """
    Generative metrics of sets of clouds against real ones.

    Parameters
    ----------
    drawn : dict
        Row name -> (m, n_points, 3) clouds.
    reference : (n, n_points, 3) array

    Returns
    -------
    pandas.DataFrame
        A row each: fidelity, coverage, jsd, one_nn_accuracy, all in unit spheres.
    """
    reference = normalize(reference, "unit-sphere")[0]
    rows = {
        name: generative_metrics(normalize(clouds, "unit-sphere")[0], reference)
        for name, clouds in drawn.items()
    }
    return pd.DataFrame(rows).T.set_axis(GENERATIVE, axis=1).rename_axis("drawn")


# Comparison -----------------------------------------------------------------------------------


def summary(evaluated, metrics_registry=METRICS, of_draws=False):
    """
    T4: mean errors of reconstruction and metrics of generation, a row a contender.

    Parameters
    ----------
    evaluated : dict
        Name -> list of results of `Unseen.evaluate`, one for each split of the sockets.
    metrics_registry : dict
        Metric -> (title, which way is better), such as `METRICS`.
    of_draws : bool
        Each list holds a single result, and the standard deviation is that over its draws: NaN for
        errors of reconstruction, which have none, and for a single draw.

    Returns
    -------
    pandas.DataFrame
        For each metric a column with its mean over splits, then one (`..._sd`) with its standard
        deviation over splits, NaN for a single split.
    """
    rows = {name: {} for name in evaluated}
    for (name, runs), metric in product(evaluated.items(), metrics_registry):
        values = [_mean(run[metric]) for run in runs]
        if of_draws and metric in GENERATIVE:
            [values] = [run[metric] for run in runs]
        rows[name][metric] = _mean(values)
        rows[name][f"{metric}_sd"] = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return pd.DataFrame(rows).T.rename_axis("model")


def _mean(values):
    return float(np.mean(values)) if len(values) else np.nan


def claims(evaluated, listed, metrics_registry=METRICS):
    """
    Test claims about differences between contenders, metric by metric.

    A claim is a contrast: a sum of contenders' values with coefficients that add up to 0. For "b is
    better than a" they are `{b: 1, a: -1}`. Whether two treatments a and b add up is asked by their
    interaction, `{both: 1, a: -1, b: -1, neither: 1}`, the effect of b with a minus that without:
    where lower is better, it is negative if both bring more together than the sum of each alone.
    So the claim "together more than the sum" is supported then, contradicted if they bring less,
    and undecided if they may add up.

    Parameters
    ----------
    evaluated : dict
        As for `summary`. Each contender has the same splits; the items of a split (test sockets, or
        draws) are paired between contenders.
    listed : sequence of (claim, coefficients, metrics)
        The claim in words, a dict from names of contenders to coefficients, and names in
        `metrics_registry`.
    metrics_registry : dict
        Metric -> (title, "lower" or "higher" or the value that is best). Where a value is best, the
        distance from it is compared, such as `|x - 0.5|` for 1-NN accuracy.

    Returns
    -------
    pandas.DataFrame
        A row for each claim and metric, indexed by the claim: "metric" (its title), "mean", "low"
        and "high" (95 % interval, not corrected), "p" (`inference.bootstrap`), "p_holm" (corrected
        for the number of rows; Holm 1979) and "answer" (by "p_holm", `inference.answer`).
    """
    rows = []
    for claim, coefficients, metrics in listed:
        for metric in metrics:
            title, best = metrics_registry[metric]
            values = np.array([[run[metric] for run in evaluated[name]] for name in coefficients])
            if not isinstance(best, str):
                values = np.abs(values - best)
                title, best = f"{title}, distance from {best:g}", "lower"
            differences = np.tensordot(list(coefficients.values()), values, 1)
            tested = vars(inference.bootstrap(differences))
            rows.append({"claim": claim, "metric": title, "better": best} | tested)
    table = pd.DataFrame(rows).set_index("claim")
    table["p_holm"] = multipletests(table.p, method="holm")[1]
    judged = zip(table["mean"], table.p_holm, table.pop("better"), strict=True)
    return table.assign(answer=[inference.answer(*each) for each in judged])


def by_kind(kinds, evaluated):
    """
    Mean errors of reconstruction by kind: a row a contender, columns such as "TT chamfer".

    `kinds` are those of the unseen shapes, (n,) for each result in the lists of `evaluated`.
    """
    of_all, columns = np.concatenate(kinds), {}
    for kind, metric in product(np.unique(of_all)[::-1], ("chamfer", "surface_mm")):
        columns[f"{kind} {metric}"] = {
            name: np.concatenate([run[metric] for run in runs])[of_all == kind].mean()
            for name, runs in evaluated.items()
        }
    return pd.DataFrame(columns).rename_axis("model")


def error_maps(unseen, measured):
    """
    Mean absolute errors of reconstruction over the surface of each kind of socket.

    Parameters
    ----------
    unseen : Unseen
    measured : dict
        Name -> result of `evaluation.measure`.

    Returns
    -------
    meshes, values, labels : lists
        Mean test sockets, errors in mm (`sockets.surface_errors`) at their vertices, and titles
        with the mean; kind by kind.
    """
    meshes, values, labels = [], [], []
    grids = np.stack([surface.vertices for surface in unseen.surfaces])
    errors = {
        name: np.abs(surface_errors(each["reconstruction"], unseen.surfaces))
        for name, each in measured.items()
    }
    for kind, (name, each) in product(np.unique(unseen.kinds)[::-1], errors.items()):
        is_kind = unseen.kinds == kind
        of_kind = each[is_kind].mean(axis=0)
        meshes.append(SocketSurface(grids[is_kind].mean(axis=0)).mesh())
        values.append(vertex_values(of_kind))
        labels.append(f"{kind}, {name}: {of_kind.mean():.2f} mm")
    return meshes, values, labels


def prior_checks(evaluated, prior_std):
    """
    T4: codes of unseen sockets beside the prior, a row a contender and way to encode.

    Parameters
    ----------
    evaluated : dict
        Name -> list of results of `evaluation.measure`, one a split.
    prior_std : float

    Returns
    -------
    pandas.DataFrame
        Means over splits of `latent.prior_check`, and the `latent.inside` shares of all splits'
        codes together ("inside_50", ...).
    """
    rows = {}
    for (name, runs), way in product(evaluated.items(), ("one_pass_codes", "codes")):
        codes = [run[way] for run in runs]
        checks = pd.DataFrame([latent.prior_check(each, prior_std) for each in codes])
        shares = latent.inside(np.concatenate(codes), prior_std, LEVELS)
        called = f"{name}, {'one pass' if way == 'one_pass_codes' else 'refined'}"
        rows[called] = checks.mean().to_dict() | {
            f"inside_{100 * level:.0f}": share for level, share in zip(LEVELS, shares, strict=True)
        }
    return pd.DataFrame(rows).T.rename_axis("codes")


def calibration(evaluated, prior_std):
    """
    How codes of unseen sockets fill the prior, for `figures.calibration`.

    Returns
    -------
    pandas.DataFrame
        Columns "model", "panel" (of `SHARE` and `SPREAD`), "x" and "y": a level and the share of
        the codes within the prior's region of it, or a number of the code and its root mean square
        over the prior's, 1 is best.
    """
    rows, levels = [], np.linspace(0.05, 0.99, 48)
    for name, runs in evaluated.items():
        codes = np.concatenate([run["codes"] for run in runs])
        found = zip(levels, latent.inside(codes, prior_std, levels), strict=True)
        rows += [(name, SHARE, level, share) for level, share in found]
        squares = np.sqrt(np.mean((codes / prior_std) ** 2, axis=0))
        rows += [(name, SPREAD, i, square) for i, square in enumerate(squares, start=1)]
    return pd.DataFrame(rows, columns=["model", "panel", "x", "y"])


# What was learnt ------------------------------------------------------------------------------


def change(frame, column, start, end):
    """
    Change of a column from one row to another, in words.

    Parameters
    ----------
    frame : pandas.DataFrame
    column, start, end : str

    Returns
    -------
    str
        Such as "0.00156 → 0.00133 (15 % lower)".
    """
    before, after = frame.loc[start, column], frame.loc[end, column]
    told = "the same"
    if after != before:
        share = f"{abs(after / before - 1):.0%}".replace("%", " %")
        told = "less than 1 %" if share == "0 %" else share
        told += " lower" if after < before else " higher"
    return f"{before:.3g} → {after:.3g} ({told})"


def answers(claims, claim):
    """
    Answers of the metrics to a claim, in words.

    Parameters
    ----------
    claims : pandas.DataFrame
        What the function `claims` gave.
    claim : str

    Returns
    -------
    str
        Such as "supported by Chamfer distance and coverage, undecided by JSD", or "undecided by
        all 4 measures".
    """
    # Without the unit.
    rows = claims.loc[[claim]].assign(metric=lambda found: found.metric.str.split(",").str[0])
    if len(rows) > 1 and rows.answer.nunique() == 1:
        count = "both" if len(rows) == 2 else f"all {len(rows)}"
        return f"{rows.answer.iloc[0]} by {count} measures"
    said = rows.groupby("answer", sort=False).metric.agg(", ".join)
    said = said.str.replace(r", ([^,]*)$", r" and \1", regex=True)
    return ", ".join(f"{answer} by {metrics}" for answer, metrics in said.items())
