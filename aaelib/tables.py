"""The study's tables, each a function from shapes and models to a `pandas.DataFrame`."""

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .clouds import normalize
from .metrics import generative_metrics, reconstruction_errors, surface_distance
from .shape_model import generalization, specificity

# Costa et al. (2021), VISAPP, abstract: mm, of models of the raw scans.
PUBLISHED = {
    "TT": {"generalization": 6.8, "specificity": 9.7},
    "TF": {"generalization": 10.5, "specificity": 9.8},
}

GENERATIVE = {
    "minimum_matching_distance": "fidelity",
    "coverage": "coverage",
    "jensen_shannon_divergence": "jsd",
    "one_nearest_neighbor_accuracy": "one_nn_accuracy",
}


# Data and shape models ------------------------------------------------------------------------


def sockets(shapes, surfaces, split):
    """
    T1: how many sockets of each kind go where, and how large they are.

    Parameters
    ----------
    shapes : aaelib.data.Shapes
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
    rows = []
    for kind in np.unique(shapes.kinds):
        for part, index in split.items():
            chosen = measures.iloc[index[shapes.kinds[index] == kind]]
            rows.append(
                {
                    "kind": kind,
                    "part": part,
                    "sockets": len(chosen),
                    "length_mm": chosen.length_mm.mean(),
                    "length_min_mm": chosen.length_mm.min(),
                    "length_max_mm": chosen.length_mm.max(),
                    "proximal_perimeter_mm": chosen.proximal_perimeter_mm.mean(),
                    "volume_l": chosen.volume_mm3.mean() / 1e6,
                    "surface_fit_mm": chosen.surface_fit_mm.mean(),
                }
            )
    return pd.DataFrame(rows).set_index("kind")


def splits(shapes, split):
    """Which socket is in which part: a row a socket."""
    part = np.empty(len(shapes), dtype=object)
    for name, index in split.items():
        part[index] = name
    return pd.DataFrame({"socket": shapes.names, "kind": shapes.kinds, "part": part}).set_index(
        "socket"
    )


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
    left_out = generalization(surfaces, n_modes)
    drawn = specificity(model, surfaces, n_modes, n_samples, seed)
    return pd.DataFrame(
        {
            "compactness": model.compactness()[np.array(n_modes) - 1],
            "generalization": left_out.mean(axis=0),
            "generalization_sd": left_out.std(axis=0),
            "specificity": drawn.mean(axis=0),
            "specificity_sd": drawn.std(axis=0),
        },
        index=pd.Index(n_modes, name="modes"),
    )


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
        rows[kind] = {
            "sockets": model.n_surfaces_,
            "modes": last.name,
            "compactness": last.compactness,
            "modes_for_95_percent": int(np.searchsorted(model.compactness(), 0.95) + 1),
            "generalization_mm": last.generalization,
            "generalization_mm_sd": last.generalization_sd,
            "published_generalization_mm": PUBLISHED[kind]["generalization"],
            "specificity_mm": last.specificity,
            "specificity_mm_sd": last.specificity_sd,
            "published_specificity_mm": PUBLISHED[kind]["specificity"],
            "unseen_surface_mm": np.mean(distances),
            "unseen_surface_mm_sd": np.std(distances),
        }
    return pd.DataFrame(rows).T.rename_axis("kind")


# Comparison -----------------------------------------------------------------------------------


def comparison(shapes, surfaces, reconstructions, generations):
    """
    T4: models and baselines, by what they reconstruct and what they generate.

    Parameters
    ----------
    shapes : aaelib.data.Shapes
        Test sockets.
    surfaces : sequence of SocketSurface
        Theirs.
    reconstructions : dict
        Row name -> (n, n_points, 3) clouds in mm, one for each test socket.
    generations : dict
        Row name -> list of draws, each (m, n_points, 3) in mm.

    Returns
    -------
    pandas.DataFrame
        A row each, with `..._sd`: over test sockets for reconstruction, over draws for generation.
    errors : dict
        Row name -> what `metrics.reconstruction_errors` gave.
    """
    meshes = [surface.mesh() for surface in surfaces]
    reference = normalize(shapes.points, "unit-sphere")[0]
    rows, errors = {}, {}
    for name, clouds in tqdm(reconstructions.items(), desc="evaluation"):
        errors[name] = reconstruction_errors(shapes.points, clouds, meshes)
        row = {}
        for column, values in errors[name].items():
            row |= {column: values.mean(), f"{column}_sd": values.std(ddof=1)}
        drawn = [
            generative_metrics(normalize(draw, "unit-sphere")[0], reference)
            for draw in generations[name]
        ]
        for metric, column in GENERATIVE.items():
            values = [each[metric] for each in drawn]
            row[column] = np.mean(values)
            row[f"{column}_sd"] = np.std(values, ddof=1) if len(drawn) > 1 else np.nan
        rows[name] = row
    return pd.DataFrame(rows).T.rename_axis("model"), errors


def by_kind(kinds, errors):
    """
    Mean reconstruction errors of each kind of socket.

    Parameters
    ----------
    kinds : (n,) array of str
    errors : dict
        Row name -> what `metrics.reconstruction_errors` gave.

    Returns
    -------
    pandas.DataFrame
        A row for each name, columns such as "TT chamfer" and "TT surface_mm".
    """
    return pd.DataFrame(
        {
            name: {
                f"{kind} {column}": values[kinds == kind].mean()
                for kind in np.unique(kinds)[::-1]
                for column, values in row.items()
            }
            for name, row in errors.items()
        }
    ).T.rename_axis("model")


def with_spread(frame, digits=3):
    """
    A table to read: "mean ± sd" in place of each pair of columns `x`, `x_sd`.

    Parameters
    ----------
    frame : pandas.DataFrame
    digits : int
        Significant digits of the mean.

    Returns
    -------
    pandas.DataFrame
        Of str.
    """
    shown = {}
    for column in frame.columns[~frame.columns.str.endswith("_sd")]:
        spread = frame.get(f"{column}_sd", pd.Series(np.nan, frame.index))
        pairs = zip(frame[column], spread, strict=True)
        shown[column] = [_spread(mean, sd, digits) for mean, sd in pairs]
    return pd.DataFrame(shown, index=frame.index)


def _spread(mean, sd, digits):
    if np.isnan(mean):
        return "-"
    if abs(mean) < 1e-5:  # the rounding of single precision
        return "0"
    if np.isnan(sd) and float(mean).is_integer():
        return f"{mean:.0f}"
    places = max(0, digits - 1 - int(np.floor(np.log10(abs(mean)))))
    return f"{mean:.{places}f}" + ("" if np.isnan(sd) else f" ± {sd:.{places}f}")


# What was learnt ------------------------------------------------------------------------------


def change(frame, column, start, end):
    """
    One sentence part: how a column moves from one row to another.

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
    if after == before:
        return f"{before:.3g} → {after:.3g} (the same)"
    share = abs(after / before - 1)
    way = "lower" if after < before else "higher"
    return f"{before:.3g} → {after:.3g} ({share:.0%} {way})".replace("%", " %")
