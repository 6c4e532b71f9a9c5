"""Plotly figures of sockets, trainings and latent spaces, each a function from arrays."""

import functools
import html
import json
import textwrap
import warnings
from itertools import chain, cycle
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from scipy.spatial import KDTree

from ..shapes.writing import write_whole
from .templating import render

# Transtibial is teal and transfemoral orange in every figure; other series take the next colours.
KIND_COLORS = {"TT": "#1f7a8c", "TF": "#d9792b"}
SERIES_COLORS = ("#3d5a80", "#c8553d", "#5b8e4d", "#8d6a9f", "#c39b34", "#4f9da6", "#7a5c45")
BASELINE_COLOR = "#a3abb3"
SURFACE_COLOR, CLOUD_COLOR = "#9fb8c6", "#4a6d84"
INK, FAINT, GRID = "#27313a", "#6b7780", "#e6eaed"

SEQUENTIAL = ["#bfccd4", "#ecc78a", "#e2914f", "#c24f39", "#7a1f2d"]
DIVERGING = ["#2a5d8f", "#8db6d3", "#f1f1ee", "#e5a983", "#a8402f"]

# Colours that colour-blind readers can tell apart, and symbols for prints in grey.
_ANSWER_COLORS = {"supported": DIVERGING[0], "contradicted": DIVERGING[-1], "undecided": FAINT}
_ANSWER_SYMBOLS = dict(zip(_ANSWER_COLORS, ("circle", "x", "diamond-open"), strict=True))

POINTS_SHOWN = 1000  # of a cloud at most, to keep a figure small

WIDTH = 1000  # pixels a figure is laid out for
_CAPTION, _COLORBAR, _GAP = 26, 96, 86  # pixels
_ELEVATION, _AZIMUTH = np.radians([22.0, -62.0])  # of the camera

_DOTTED = {"color": INK, "width": 1, "dash": "dot"}
_LOG_AXIS = {"type": "log", "dtick": "D2", "tickformat": "~g"}
_LIGHTING = {"ambient": 0.38, "diffuse": 0.62, "specular": 0.08, "roughness": 0.5, "fresnel": 0.1}
_LABEL, _TICKS = {"size": 12, "color": FAINT}, {"size": 11, "color": FAINT}


# Galleries ---------------------------------------------------------------------------------------


def cloud_gallery(clouds, titles=None, columns=5, color=None, unit=None, color_range=None):
    """
    Point clouds side by side in one 3D view, upright, at one scale.

    Parameters
    ----------
    clouds : sequence of ndarray, shape (n_points, 3)
        Clouds in one unit, z up. At most `POINTS_SHOWN` evenly spread points of each are drawn.
    titles : sequence of str, optional
        A caption below each cloud.
    columns : int
        Clouds in a row.
    color : sequence of str or of ndarray of shape (n_points,), optional
        A colour for each cloud, or a number for each of its points, such as an error in mm.
    unit : str, optional
        Title of the colour scale: the unit of the numbers, or what they are.
    color_range : tuple of float, optional
        (low, high) of the colour scale, by default the range of the numbers.
    """
    color = [CLOUD_COLOR] * len(clouds) if color is None else color
    values = None if isinstance(color[0], str) else color
    count = int(np.clip(5500 / len(clouds), 500, POINTS_SHOWN))
    kept = [_evenly_spread(cloud, count) for cloud in clouds]
    thinned = [cloud[keep] for cloud, keep in zip(clouds, kept, strict=True)]
    figure, points = _gallery(thinned, titles, columns, values, unit, color_range)
    for xyz, paint, keep in zip(points, color, kept, strict=True):
        figure.add_trace(_cloud(xyz, paint if values is None else paint[keep]))
    return figure


def reconstructions(unseen, measured):
    """
    Five unseen sockets, from the best to the worst reconstructed, above their reconstructions.

    Parameters
    ----------
    unseen : aaelib.study.evaluation.Unseen
    measured : dict
        Name -> result of `evaluation.measure`; the first one orders the sockets.
    """
    order = np.argsort(next(iter(measured.values()))["surface_mm"])
    some = order[np.linspace(0, len(order) - 1, 5).round().astype(int)]
    rows = [unseen.points[some], *(each["reconstruction"][some] for each in measured.values())]
    labels = [str(kind) for kind in unseen.kinds[some]]
    for name, each in measured.items():
        labels += [f"{name} {error:.1f} mm" for error in each["surface_mm"][some]]
    errors = [each for clouds in rows for each in unseen.point_errors(clouds, some)]
    clouds = [cloud for row in rows for cloud in row]
    return cloud_gallery(clouds, labels, 5, errors, "mm", (0, 5))


def mesh_gallery(meshes, titles=None, columns=5, intensities=None, unit=None, color_range=None):
    """
    Surfaces side by side in one 3D view, upright, at one scale.

    Parameters
    ----------
    meshes : sequence of trimesh.Trimesh or of (vertices, faces)
        Vertices of shape (n_vertices, 3) in one unit, z up; faces of shape (n_faces, 3).
    intensities : sequence of ndarray of shape (n_vertices,), optional
        A number for each vertex. A range with both signs gets a diverging scale, centred on 0.
    titles, columns, unit, color_range
        As for `cloud_gallery`.
    """
    vertices, faces = zip(*[_vertices_and_faces(mesh) for mesh in meshes], strict=True)
    figure, points = _gallery(vertices, titles, columns, intensities, unit, color_range)
    intensities = [None] * len(meshes) if intensities is None else intensities
    for xyz, triangles, values in zip(points, faces, intensities, strict=True):
        figure.add_trace(_surface(xyz, triangles, values))
    return figure


def modes_of_variation(modes, labels):
    """
    A shape model's mean and its modes, coloured by how far the surface moves, a row for each mode.

    `modes` holds three meshes in mm for each mode: 2 standard deviations below the mean, the mean,
    2 above. Their vertices correspond. Colour is the displacement in mm along the mean's outward
    normal, positive where the socket is wider.
    """
    displacements, titles = [], []
    for meshes, label in zip(modes, labels, strict=True):
        moved = [mesh.vertices - meshes[1].vertices for mesh in meshes]
        displacements += [np.einsum("ij,ij->i", by, meshes[1].vertex_normals) for by in moved]
        titles += [f"{label}, \N{MINUS SIGN}2 sd", "mean", f"{label}, +2 sd"]
    limit = _saturation(displacements)
    return mesh_gallery(list(chain(*modes)), titles, 3, displacements, "mm", (-limit, limit))


def error_maps(meshes, values, labels):
    """Surfaces in one row, coloured by the absolute error in mm at each vertex."""
    limit = _saturation(values)
    return mesh_gallery(meshes, labels, len(meshes), values, "absolute, mm", (0.0, limit))


def interpolation(shapes, labels):
    """
    One shape that turns into another, under a slider that works without a kernel.

    `shapes` are the steps, with a label each: all arrays of shape (n_points, 3), or all surfaces as
    `mesh_gallery` takes them. Points and vertices correspond from step to step, and the first
    surface's faces serve for all. Frames differ in coordinates alone.
    """
    if isinstance(shapes[0], np.ndarray):
        keep = _evenly_spread(shapes[0], POINTS_SHOWN)
        steps = [shape[keep] for shape in shapes]
        draw = functools.partial(_cloud, paint=CLOUD_COLOR, size=3)
    else:
        steps, faces = zip(*map(_vertices_and_faces, shapes), strict=True)
        draw = functools.partial(_surface, faces=faces[0])
    figure, [stacked] = _gallery([np.vstack(steps)])
    steps = np.split(stacked, len(steps))
    figure.add_trace(draw(steps[0]))
    frames, stops = [], []
    jump = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}
    for index, (xyz, label) in enumerate(zip(steps, _plain(labels), strict=True)):
        frames.append(go.Frame(data=[type(figure.data[0])(**_xyz(xyz))], name=str(index)))
        stops.append({"method": "animate", "label": label, "args": [[str(index)], jump]})
    figure.frames = frames
    height = figure.layout.height + 92
    return figure.update_layout(margin_b=92, sliders=[{"steps": stops}], height=height)


# Charts ------------------------------------------------------------------------------------------


def training_curves(histories, columns, best):
    """
    Metrics of training runs by epoch, a panel for each metric.

    Parameters
    ----------
    histories : dict of str -> pandas.DataFrame
        A table for each run, indexed by epoch, its columns metrics. A panel leaves out the runs
        that lack its metric. It is logarithmic if the metric spans more than a factor of 20.
    columns : dict of str -> str
        Metric -> title of its panel.
    best : dict of str -> int
        Run -> the epoch that was selected, which gets a marker.
    """
    figure, places, data = _curves(histories, "run", "epoch", columns)
    for trace in figure.data:
        sizes = 10 * (trace.x == best.get(trace.name))
        trace.update(mode="lines+markers", marker={"size": sizes, "opacity": 1, "line_width": 0})
    for metric, values in data.groupby("metric").value:
        if _spans_decades(values):
            figure.update_yaxes(_LOG_AXIS, **places[metric])
    return figure


def run_curves(run):
    """Curves of one training run (`models.Run`), with its selected epoch."""
    name = run.model.recipe.name
    columns = {
        "chamfer": "Chamfer distance, training",
        "val_chamfer": "Chamfer distance, validation",
        "val_jsd": "JSD of samples, validation",
        "val_discriminator_accuracy": "accuracy of the discriminator",
    }
    return training_curves({name: run.history}, columns, {name: run.best_epoch})


def latent_map(xy, kinds, names, prior_xy, explained):
    """
    Codes of shapes on a plane of the latent space, over the prior.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
        The codes, projected.
    kinds, names : sequence of str, length n
        Of each shape: "TT", "TF" or any other kind, and the name shown on hovering.
    prior_xy : ndarray, shape (m, 2)
        Draws from the prior, projected likewise. Ellipses hold 50 %, 90 % and 99 % of a normal
        distribution of their mean and covariance.
    explained : sequence of 2 float
        Share of the codes' variance along each axis, [0, 1].
    """
    shown = {"kind": _plain(kinds), "name": _plain(names)}
    data = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], **shown})
    figure, _ = _panels(px.scatter, data, height=500, x="x", y="y", color="kind", hover_name="name")
    dot = {"size": 8, "opacity": 0.85, "line": {"color": "white", "width": 0.8}}
    figure.update_traces(marker=dot)
    first, second = (f"axis ({100 * share:.0f} % of variance)" for share in explained)
    figure.update_xaxes(title_text=f"first {first}", zeroline=False, constrain="domain")
    figure.update_yaxes(title_text=f"second {second}", zeroline=False, scaleanchor="x")
    return go.Figure([*_prior(prior_xy), *figure.data], figure.layout)


def calibration(frame):
    """Shares of codes within the prior's central regions, and spreads (`tables.calibration`)."""
    figure, places = _panels(px.line, frame, "panel", 300, x="x", y="y", color="model")
    first, second = places.values()
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line=_DOTTED, **first)
    figure.add_hline(1, line=_DOTTED, **second)
    figure.update_xaxes(title_text="level of the region", **first)
    figure.update_xaxes(title_text="number of the code", **second)
    figure.update_yaxes(title_text=None, matches=None, showticklabels=True)
    return figure.update_yaxes(rangemode="tozero")


def trade_off(frame):
    """Error against plausibility, by the noise of refinement (`checks.trade_off`)."""
    titles = {"inside_95": "share of codes in the prior's 95 % region", "surface_mm": "error, mm"}
    drawn = {"x": "inside_95", "y": "surface_mm", "markers": True, "labels": titles}
    figure, _ = _panels(px.line, frame, height=300, **drawn)
    is_chosen = ~frame.index.str[0].str.isdigit()
    symbols = np.where(is_chosen, "diamond", "circle")
    notes = frame.noise.map("noise {:.0e}".format)
    figure.update_traces(marker={"size": 7 + 7 * is_chosen, "symbol": symbols}, hovertext=notes)
    return figure.update_yaxes(rangemode="tozero")


def bars_with_baselines(table, metrics, baselines):
    """
    Models side by side on several metrics, baselines in grey.

    Parameters
    ----------
    table : pandas.DataFrame
        A row for each model, from top to bottom, and a column for each metric, 0 or more. Where it
        has a column `<metric>_sd`, that is half the length of an error bar (NaN: none).
    metrics : dict of str -> (str, {"lower", "higher"} or float)
        Metric -> title of its panel, and which way is better, or the value that is best, which is
        drawn as a line (`evaluation.METRICS`). Those that the table lacks are left out.
    baselines : sequence of str
        The rows to draw in grey.
    """
    arrows = {"lower": "↓", "higher": "↑"}
    table, baselines = table.set_axis(_plain(table.index)), _plain(baselines)
    panels, marks = {}, {}
    for metric, (title, better) in metrics.items():
        if metric in table:
            title = f"{title} {arrows.get(better) or f'→ {better:g}'}"
            pair = table.reindex(columns=[metric, f"{metric}_sd"])
            panels[title], marks[title] = pair.set_axis(["value", "sd"], axis=1), better
    data = pd.concat(panels, names=["metric", "model"]).reset_index()
    data["sd"] = data["sd"].where(data["sd"] > 0)
    data["end"] = data["value"] + data["sd"].fillna(0)
    data["text"] = data["value"].map(" {:.3g}".format, na_action="ignore")
    colors = _colors(table.index.difference(baselines))
    colors |= dict.fromkeys(baselines, BASELINE_COLOR)
    options = {"data": data, "panel": "metric", "height": 60 + 30 * len(table), "y": "model"}
    colored = {"color": "model", "color_discrete_map": colors}
    figure, places = _panels(px.bar, **options, x="value", error_x="sd", **colored)
    figure.update_traces(error_x={"color": INK, "thickness": 1.2, "width": 3}, width=0.62)
    # Written beyond the error bar, which a bar's own text would run into.
    texts, _ = _panels(px.scatter, **options, x="end", text="text")
    texts.update_traces(mode="text", textposition="middle right", textfont=_TICKS)
    figure.add_traces(texts.update_traces(cliponaxis=False, hoverinfo="skip").data)
    figure.update_traces(showlegend=False)
    for title, end in data.groupby("metric", sort=False)["end"].max().items():
        if marks[title] not in arrows:
            figure.add_vline(marks[title], line=_DOTTED, **places[title])
        figure.update_xaxes(range=[0, 1.2 * end], nticks=5, title_text=None, **places[title])
    return _list(figure, table.index)


def compactness(measures, published):
    """
    Compactness, generalization and specificity of shape models by number of modes.

    Parameters
    ----------
    measures : dict of str -> pandas.DataFrame
        For each kind a table indexed by the number of modes, with columns "compactness" (share of
        variance), "generalization" and "specificity" (mm).
    published : dict of str -> dict of str -> float
        For a kind and a column the value that was published, a dotted line.
    """
    titles = {"compactness": "compactness, share of variance"}
    titles |= {column: f"{column}, mm" for column in ("generalization", "specificity")}
    figure, places, _ = _curves(measures, "kind", "modes", titles, markers=True)
    for kind, values in published.items():
        color = {"color": KIND_COLORS[kind]}
        for column, value in values.items():
            note = {"text": f"{value:g}", "x": 1, "xanchor": "left", "yanchor": "middle"}
            note |= {"yshift": 0, "font": color}
            where = places[titles[column]]
            figure.add_hline(value, line=_DOTTED | color, annotation=note, **where)
    return figure


def _curves(tables, series, x, titles, **options):
    """
    Line for each of some tables, a panel for each of their columns.

    `series` is what a table stands for, `x` its index, and `titles` has column -> title of its
    panel. Returns the figure, where the panels are (`_panels`), and what is drawn, in columns
    "metric" and "value".
    """
    data = pd.concat(tables, names=[series, x]).rename(columns=titles).reset_index()
    shown = [title for title in titles.values() if title in data]
    data = data.melt([series, x], shown, var_name="metric").dropna()
    figure, places = _panels(px.line, data, "metric", x=x, y="value", color=series, **options)
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=None, matches=None, showticklabels=True)
    return figure, places, data


def lines(frame, x, y, series, labels, log_x=False):
    """
    Line for each of a series, through means over splits, with their standard deviations.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows that share `x` and `series` are splits.
    x, y, series : str
        Its columns.
    labels : dict of str -> str
        Of the axes: `x`, and "mean" for that of `y`.
    log_x : bool
        The x axis is logarithmic, with the values of `x` as its ticks.
    """
    splits = frame.sort_values(x, kind="stable").groupby([series, x], sort=False)[y]
    data = splits.agg(["mean", "std"]).reset_index()
    drawn = {"x": x, "y": "mean", "error_y": "std", "color": series, "markers": True}
    figure, _ = _panels(px.line, data, height=300, log_x=log_x, labels=labels, **drawn)
    ticks = np.sort(frame[x].unique())
    return figure.update_xaxes(tickvals=ticks, ticktext=ticks.astype(str)) if log_x else figure


def differences(frame):
    """
    Forest plot: the mean difference of each claim, its interval, and the answer.

    Each metric has a panel of its own, with a line at zero. A mean more than 4 times as far from
    zero as the intervals' ends usually are (median) is written at the edge, so that the others
    can be told apart. Answers are by corrected p-values, so that a claim may be undecided though
    its interval excludes 0.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each claim and metric, indexed by the claim (`tables.claims`): "metric", the title
        of the panel; "mean", "low" and "high" (NaN if unknown); and "answer".
    """
    wrapped = ["<br>".join(textwrap.wrap(claim, 32)) for claim in frame.index]
    data = frame.assign(name=wrapped).reset_index(drop=True)
    colors = {"color": "answer", "color_discrete_map": _ANSWER_COLORS}
    symbols = {"symbol": "answer", "symbol_map": _ANSWER_SYMBOLS}
    figure, places = _intervals(data, "metric", columns=2, **colors, **symbols)
    for metric, rows in data.groupby("metric", sort=False):
        where, numbers = places[metric], rows[["mean", "low", "high"]]
        is_far = rows["mean"].abs() > 4 * numbers.abs().max(axis=1).median()
        low, high = np.nanmin(numbers[~is_far], initial=0), np.nanmax(numbers[~is_far], initial=0)
        margin = 0.08 * (high - low)
        figure.update_xaxes(range=[low - margin, high + margin], **where)
        for row in rows[is_far].itertuples():
            edge = {"x": low - margin, "xanchor": "left", "text": f"◂ {row.mean:.3g}"}
            if row.mean > 0:
                edge = {"x": high + margin, "xanchor": "right", "text": f"{row.mean:.3g} ▸"}
            font = {"size": 12, "color": _ANSWER_COLORS[row.answer]}
            figure.add_annotation(y=row.name, showarrow=False, yshift=0, font=font, **edge, **where)
    # An axis holds its shapes: the line is inside wherever the intervals are.
    figure.add_vline(0, line={"color": INK, "width": 1})
    return figure.update_yaxes(tickfont={"size": 12, "color": INK})


def nearest_histogram(
    distances, label="Chamfer distance to the nearest training socket (unit sphere)"
):
    """
    Share of each set within a distance of the nearest training socket, a step for each socket.

    `distances` maps a set, such as generated and test sockets, to its Chamfer distances (unit
    spheres, shape (n,)). Copies of training sockets rise at 0, far to the left of test sockets.
    """
    sets = [pd.Series(each, name=label) for each in distances.values()]
    data = pd.concat(sets, keys=_plain(distances), names=["set"]).reset_index()
    figure, _ = _panels(px.ecdf, data, height=300, x=label, color="set")
    if _spans_decades(data[label]):
        figure.update_xaxes(_LOG_AXIS)
    return figure.update_yaxes(title_text="share", range=[0, 1.02])


def assessment(table, plausibility):
    """
    Who tells real from generated sockets, with intervals, and how plausible both were found.

    Parameters
    ----------
    table : pandas.DataFrame
        A row for each judge, with columns "accuracy", "low" and "high" in [0, 1]
        (`aaelib.apps.assessment.results`). Rows whose name starts with "machine:" are grey.
    plausibility : pandas.DataFrame
        A row each for real and for generated sockets, with columns "mean", "sd" and "n" of scores
        from 1 to 5 (`aaelib.apps.assessment.plausibility`). Without rows its panel is left out.
    """
    judged = table.rename(columns={"accuracy": "mean"}).assign(panel="accuracy → 0.5")
    is_machine = judged.index.str.startswith("machine:")
    judged["color"] = np.where(is_machine, FAINT, SERIES_COLORS[0])
    data = judged[["mean", "low", "high", "panel", "color"]]
    if len(plausibility):
        scores = plausibility.assign(panel="plausibility, mean ± sd", color=SERIES_COLORS[1])
        scores["low"], scores["high"] = (scores["mean"] + by * scores["sd"] for by in (-1, 1))
        scores.index = [f"{name}<br>n = {n:g}" for name, n in plausibility["n"].items()]
        data = pd.concat([data, scores[data.columns]])
    data = data.rename_axis("name").reset_index()
    figure, places = _intervals(data, "panel", color="color", color_discrete_map="identity")
    where = places["accuracy → 0.5"]
    figure.add_vline(0.5, line=_DOTTED, **where)
    figure.update_xaxes(range=[0, 1.02], **where)
    if len(plausibility):
        where = places["plausibility, mean ± sd"]
        figure.update_xaxes(range=[0.8, 5.2], tickvals=[1, 2, 3, 4, 5], **where)
    return figure.update_yaxes(matches=None, showticklabels=True)


def _panels(draw, data, panel=None, height=250, columns=3, **options):
    """
    Small multiples by plotly express, and where (row, col) each is; `columns` in a row at most.

    `draw` is a function of plotly express, `panel` the column of `data` that tells their titles.
    """
    titles = [None] if panel is None else list(data[panel].unique())
    per_row = 2 if len(titles) == 4 else min(len(titles), columns)
    rows = -(-len(titles) // per_row)
    inside = rows * height + (rows - 1) * _GAP
    if "color" in options:
        options.setdefault("color_discrete_map", _colors(data[options["color"]]))
    spacing = {"facet_col_spacing": 0.2 / per_row, "facet_row_spacing": _GAP / inside}
    look = {"template": _template(), "height": inside + 132}
    figure = draw(data, facet_col=panel, facet_col_wrap=per_row, **spacing, **look, **options)
    figure.for_each_annotation(lambda note: note.update(text=note.text.removeprefix(f"{panel}=")))
    figure.update_xaxes(matches=None, showticklabels=True).update_layout(legend_title_text=None)
    # plotly express counts rows from the bottom.
    return figure, {
        title: {"row": rows - i // per_row, "col": i % per_row + 1}
        for i, title in enumerate(titles)
    }


def _intervals(data, panel, **options):
    """Points with intervals: of each "name" in `data` its "mean", from "low" to "high"."""
    names = list(data["name"].unique())
    data = data.assign(above=data["high"] - data["mean"], below=data["mean"] - data["low"])
    drawn = {"x": "mean", "y": "name", "error_x": "above", "error_x_minus": "below"}
    figure, places = _panels(px.scatter, data, panel, 60 + 34 * len(names), **drawn, **options)
    figure.update_traces(error_x={"thickness": 2, "width": 5}, marker_size=11)
    figure.update_xaxes(title_text=None, exponentformat="none", nticks=5, zeroline=False)
    return _list(figure, names), places


def _list(figure, names):
    """Let the y axis of each panel list names from top to bottom."""
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1])
    return figure.update_yaxes(title_text=None, showgrid=False, tickcolor="white")


# Output ------------------------------------------------------------------------------------------


def to_png(fig):
    """
    A figure as the bytes of a PNG file, drawn by the Chrome or Chromium that is installed.

    The browser starts with the first picture, asks no outside host for anything, and stays open
    until the process ends. Where no browser works this is None, and one warning says what to
    install.
    """
    import kaleido

    size = {"width": WIDTH, "height": fig.layout.height or 450, "scale": 1}
    return kaleido.calc_fig_sync(fig, opts=size) if _has_browser() else None


@functools.cache
def _has_browser():
    """Start kaleido's server if a browser works; else warn, and return False."""
    import kaleido

    # plotly.js comes from the installed package; MathJax would come from an outside host.
    options = {"mathjax": False}
    try:
        # The server itself would wait for ever for a browser that does not start.
        kaleido.calc_fig_sync(go.Figure(), kopts=options)
    except (RuntimeError, OSError) as error:
        warnings.warn(
            "No static pictures: no Chrome or Chromium that works was found. Install one (Debian "
            "and Ubuntu: apt install chromium; elsewhere: plotly_get_chrome), or name it in the "
            f"environment variable BROWSER_PATH. {error}",
            stacklevel=3,
        )
        return False
    kaleido.start_sync_server(**options)
    return True


def write_html(fig, path):
    """Write a figure as an interactive page that works offline, plotly.js beside it."""
    # No button that sends a figure's data to an outside host: shapes may be of patients.
    config = {"displaylogo": False, "responsive": True, "showSendToCloud": False}
    library = share_plotly(Path(path).parent)
    write_whole(path, fig.to_html(config, auto_play=False, include_plotlyjs=library.name))


def share_plotly(folder):
    """Write plotly.min.js into a folder, unless it is there, and return its path."""
    library, script = Path(folder) / "plotly.min.js", get_plotlyjs().encode()
    if not library.exists() or library.read_bytes() != script:
        write_whole(library, script)
    return library


# Parts -------------------------------------------------------------------------------------------


def _gallery(shapes, titles=None, columns=1, values=None, unit=None, color_range=None):
    """An empty scene with places for the shapes in a grid, and the shapes, each at its place."""
    shapes = [_centred(shape) for shape in shapes]
    titles = _plain(() if titles is None else titles)
    columns = min(columns, len(shapes))
    rows = -(-len(shapes) // columns)
    side, caption = _COLORBAR * (values is not None), _CAPTION * bool(titles)
    width = (WIDTH - side) / columns
    height, middle, scale = _cell(shapes, width)
    cos, sin = np.cos(_ELEVATION), np.sin(_ELEVATION)
    across = np.array([-np.sin(_AZIMUTH), np.cos(_AZIMUTH), 0.0]) * width / scale
    down = np.array([0.0, 0.0, -1.0]) * (height + caption) / scale / cos
    places = [(i % columns) * across + (i // columns) * down for i in range(len(shapes))]
    points = [xyz + np.float32(place) for xyz, place in zip(shapes, places, strict=True)]
    feet = places + np.array([0.0, 0.0, middle - (height + caption) / 2 / scale / cos])
    # In the middle of the picture is the centre of the axes, beyond which plotly cuts things off.
    centre = ((columns - 1) * across + (rows - 1) * down) / 2
    centre[2] += middle - caption / 2 / scale / cos
    half = np.abs(np.concatenate([*points, feet[: len(titles)]]) - centre).max(axis=0)
    half = np.maximum(half, 1e-3 * half.max())  # a flat shape still needs a range
    figure = go.Figure(layout={"template": _template(), "height": round(rows * (height + caption))})
    figure.layout.margin = {"l": 0, "r": side, "t": 0, "b": 0, "autoexpand": False}
    eye = np.array([cos * np.cos(_AZIMUTH), cos * np.sin(_AZIMUTH), sin])
    # An orthographic camera shows 2 units of `aspectratio` in the height of the scene.
    figure.layout.scene = {
        "aspectmode": "manual",
        "aspectratio": _xyz(4 * half * scale / figure.layout.height),
        "camera": {"eye": _xyz(eye), "projection": {"type": "orthographic"}},
    }
    for axis, low, high in zip("xyz", centre - half, centre + half, strict=True):
        figure.layout.scene[f"{axis}axis"] = {"visible": False, "range": [float(low), float(high)]}
    if columns > 1:
        figure.layout.width = WIDTH  # where it is narrower, the camera would cut off the sides
    if titles:
        figure.layout.scene.annotations = [
            # A page makes labels smaller.
            {"text": text, "font": _LABEL} | _xyz(foot)
            for text, foot in zip(titles, feet, strict=True)
        ]
    if values is not None:
        figure.layout.coloraxis = _coloraxis(values, unit, color_range)
    return figure, points


def _cell(shapes, width):
    """
    Size of a cell of a grid of shapes: its height in pixels, the height at its middle, the scale.

    Cells are `width` pixels wide. All shapes fit into one at the scale (pixels for a millimetre),
    however they are turned about z; `middle` is a height in mm.
    """
    cos, sin = np.cos(_ELEVATION), np.sin(_ELEVATION)
    radii = [np.hypot(xyz[:, 0], xyz[:, 1]) for xyz in shapes]
    reach = max(radius.max() for radius in radii)
    pairs = list(zip(shapes, radii, strict=True))
    above = max((xyz[:, 2] * cos + radius * sin).max() for xyz, radius in pairs)
    below = max((radius * sin - xyz[:, 2] * cos).max() for xyz, radius in pairs)
    lift, middle = (above + below) / 2, (above - below) / 2 / cos
    height = min(width * np.clip(1.02 * lift / reach, 0.6, 1.3), 240 + width / 5)
    return float(height), middle, 0.96 * min(height / lift, width / reach) / 2


@functools.cache
def _template():
    """How all figures look."""
    colors = {"ink": INK, "faint": FAINT, "grid": GRID, "bar": BASELINE_COLOR}
    text = render("layout.json.j2", label=_LABEL, ticks=_TICKS, **colors)
    return go.layout.Template(layout=json.loads(text))


def _plain(texts):
    """Texts as they are: plotly would take tags in a name for markup."""
    return [html.escape(str(text), quote=False) for text in texts]


def _centred(xyz):
    xyz = np.asarray(xyz, dtype=np.float32)
    return xyz - (xyz.min(axis=0) + xyz.max(axis=0)) / 2


def _evenly_spread(points, count):
    """Indices of at most `count` points, as evenly spread as the cloud is."""
    if len(points) <= count:
        return np.arange(len(points))
    # Neighbours in space are neighbours in the order of a k-d tree's leaves.
    order = KDTree(points, leafsize=2).indices
    return np.sort(order[np.linspace(0, len(points) - 1, count).round().astype(int)])


def _vertices_and_faces(mesh):
    vertices, faces = (mesh.vertices, mesh.faces) if hasattr(mesh, "faces") else mesh
    index_type = np.uint16 if len(vertices) < 2**16 else np.uint32
    return np.asarray(vertices, dtype=np.float32), np.asarray(faces).astype(index_type)


def _xyz(values):
    """What each axis has of one point (3,), or of points (n, 3)."""
    # A copy of each column: plotly encodes contiguous float32 as base64.
    return dict(zip("xyz", np.ascontiguousarray(values.T), strict=True))


def _cloud(xyz, paint, size=2.5):
    """Points of one colour, or coloured by a number each on the figure's scale."""
    if isinstance(paint, str):
        marker, hover = _tinted(xyz, paint), {"hoverinfo": "skip"}
    else:
        marker = {"color": np.asarray(paint, np.float32), "coloraxis": "coloraxis"}
        hover = {"hovertemplate": "%{marker.color:.3g}<extra></extra>"}
    marker |= {"size": size, "line": {"width": 0}}
    return go.Scatter3d(**_xyz(xyz), mode="markers", marker=marker, showlegend=False, **hover)


def _tinted(xyz, color):
    """Marker whose colour pales away from the viewer: without it a cloud has no front and back."""
    toward = np.array([np.cos(_AZIMUTH), np.sin(_AZIMUTH), 0.0], dtype=np.float32)
    depth = xyz @ toward
    near = (depth - depth.min()) / max(np.ptp(depth), np.finfo(np.float32).tiny)
    # Five tints, from two fifths of the colour on: a byte a point, and pictures that compress well.
    tints = np.round(4 * near).astype(np.uint8)
    return {"color": tints, "colorscale": ["white", color], "cmin": -1.73, "cmax": 2.6}


def _surface(xyz, faces, values=None):
    """A mesh of one colour, or coloured by a number for each vertex on the figure's scale."""
    i, j, k = np.ascontiguousarray(faces.T)
    paint = {"color": SURFACE_COLOR}
    if values is not None:
        paint = {"intensity": np.asarray(values, np.float32), "coloraxis": "coloraxis"}
    # plotly lights a surface from the side opposite to the position that it is given.
    light = {"lighting": _LIGHTING, "lightposition": {"x": 47_000, "y": 67_000, "z": -57_000}}
    shown = {"hoverinfo": "skip", "showlegend": False}
    return go.Mesh3d(**_xyz(xyz), i=i, j=j, k=k, **paint, **light, **shown)


def _coloraxis(values, title, limits):
    """Colour scale of `limits` (by default the range of the values), diverging around 0."""
    if limits is None:
        low, high = min(map(np.nanmin, values)), max(map(np.nanmax, values))
        limits = (-max(-low, high), max(-low, high)) if low < 0 < high else (low, high)
    colors = DIVERGING if limits[0] < 0 < limits[1] else SEQUENTIAL
    scale = {"colorscale": colors, "cmin": limits[0], "cmax": limits[1]}
    return scale | {"colorbar": {"title": {"text": title}}}


def _saturation(values):
    """End of a colour scale: a few nodes at the brim are much farther off than the rest."""
    return float(np.percentile(np.abs(np.concatenate(values)), 99))


def _colors(names):
    """Colours of series: the same set has the same ones, whichever comes first."""
    others = sorted({*names} - KIND_COLORS.keys())
    return KIND_COLORS | dict(zip(others, cycle(SERIES_COLORS), strict=False))


def _spans_decades(values):
    return values.min() > 0 and values.max() > 20 * values.min()


def _prior(xy):
    """
    Draw the prior: faint points, and ellipses that hold 50 %, 90 % and 99 % of a normal one.

    A normal prior stays normal when it is projected, and holds a share p within
    r^2 = -2 ln(1 - p) standard deviations squared (Rayleigh).
    """
    x, y = xy.T.astype(np.float32)
    marker = {"color": BASELINE_COLOR, "size": 3, "opacity": 0.35}
    yield go.Scatter(x=x, y=y, mode="markers", name="prior", marker=marker, hoverinfo="skip")
    angles = np.linspace(0, 2 * np.pi, 121)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    line = {"color": BASELINE_COLOR, "width": 1}
    outline = {"mode": "lines", "line": line, "showlegend": False}
    to_ellipse = np.linalg.cholesky(np.cov(xy.T)).T
    for share in (0.5, 0.9, 0.99):
        ring = xy.mean(axis=0) + np.sqrt(-2 * np.log(1 - share)) * circle @ to_ellipse
        hover = f"{share:.0%} of the prior<extra></extra>"
        yield go.Scatter(x=ring[:, 0], y=ring[:, 1], **outline, hovertemplate=hover)
