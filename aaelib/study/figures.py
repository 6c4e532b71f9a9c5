"""Plotly figures of sockets, trainings and latent spaces, each a function from arrays."""

import asyncio
import atexit
import functools
import threading
import warnings
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import trimesh
from plotly.colors import find_intermediate_color, hex_to_rgb, label_rgb
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots
from scipy.spatial import KDTree

from ..shapes.writing import replacing

KIND_COLORS = {"TT": "#1f7a8c", "TF": "#d9792b"}


"""Transtibial is teal and transfemoral is orange, in every figure."""

SERIES_COLORS = ("#3d5a80", "#c8553d", "#5b8e4d", "#8d6a9f", "#c39b34", "#4f9da6", "#7a5c45")


"""Colours of runs, models and other things that are no kind of socket."""

BASELINE_COLOR = "#a3abb3"
SURFACE_COLOR, CLOUD_COLOR = "#9fb8c6", "#4a6d84"
INK, FAINT, GRID = "#27313a", "#6b7780", "#e6eaed"

SEQUENTIAL = ["#bfccd4", "#ecc78a", "#e2914f", "#c24f39", "#7a1f2d"]
DIVERGING = ["#2a5d8f", "#8db6d3", "#f1f1ee", "#e5a983", "#a8402f"]

# The colours that a colour-blind reader tells apart, and symbols for who prints in grey.
_ANSWERS = {
    "supported": (DIVERGING[0], "circle"),
    "not supported": (DIVERGING[-1], "x"),
    "not decidable here": (FAINT, "diamond-open"),
}

POINTS_SHOWN = 1000  # of a cloud, or fewer where there are many clouds, to keep a figure small
SCENES_SHOWN = 16  # browsers blank the oldest 3D views of a page beyond this many (WebGL contexts)

LOG_TICKS = [digit * 10.0**power for power in range(-8, 7) for digit in (1, 2, 5)]
LOG_LABELS = [f"{tick:g}" for tick in LOG_TICKS]

WIDTH = 1000  # pixels a figure is laid out for
_TITLE, _CAPTION, _COLORBAR = 44, 26, 96  # pixels
_ELEVATION, _AZIMUTH = np.radians([22.0, -62.0])

# Galleries ---------------------------------------------------------------------------------------


def cloud_gallery(
    clouds,
    titles=None,
    columns=5,
    color=None,
    title=None,
    colorbar_title=None,
    color_range=None,
):
    """
    Point clouds side by side, upright, at one common scale.

    Parameters
    ----------
    clouds : sequence of ndarray, shape (n_points, 3)
        Clouds in one common unit, z up. At most `POINTS_SHOWN` evenly spread points of each are
        shown, 500 of each where there are many; each cloud is centred on its bounding box.
    titles : sequence of str, optional
        A caption below each cloud.
    columns : int
        Clouds in a row.
    color : str, sequence of str, or sequence of ndarray of shape (n_points,), optional
        One colour, a colour per cloud, or a number per point, such as an error in mm.
    title : str, optional
        Title of the figure.
    colorbar_title : str, optional
        What the numbers in `color` are, with their unit.
    color_range : tuple of float, optional
        (low, high) of the colour scale, by default all that the numbers span.

    Returns
    -------
    plotly.graph_objects.Figure
        A scene for each cloud; their cameras and scales are identical.

    Raises
    ------
    ValueError
        If there are no clouds or more than `SCENES_SHOWN`, or if `titles` or `color` has another
        length than `clouds`.
    """
    _check_count(clouds)
    clouds = [np.asarray(cloud, dtype=np.float32) for cloud in clouds]
    if color is None or isinstance(color, str):
        color = [color or CLOUD_COLOR] * len(clouds)
    _check_length("color", color, clouds)
    is_scalar = not isinstance(color[0], str)
    count = int(np.clip(5500 / len(clouds), 500, POINTS_SHOWN))
    shown = [_evenly_spread(cloud, count) for cloud in clouds]
    colors = [
        np.asarray(c, dtype=np.float32)[keep] if is_scalar else c
        for c, keep in zip(color, shown, strict=True)
    ]
    thinned = [cloud[keep] for cloud, keep in zip(clouds, shown, strict=True)]
    figure, points = _gallery(thinned, titles, columns, title, colorbar=is_scalar)
    for index, (xyz, paint) in enumerate(zip(points, colors, strict=True)):
        marker = {"color": paint, "coloraxis": "coloraxis"} if is_scalar else _tinted(xyz, paint)
        figure.add_trace(
            go.Scatter3d(
                **_xyz(xyz),
                mode="markers",
                marker=marker | {"size": 2.5, "line": {"width": 0}},
                scene=_scene_name(index),
                hovertemplate="%{marker.color:.3g}<extra></extra>" if is_scalar else None,
                hoverinfo=None if is_scalar else "skip",
                showlegend=False,
            )
        )
    if is_scalar:
        _set_coloraxis(figure, color, colorbar_title, color_range)
    return figure


def mesh_gallery(
    meshes,
    titles=None,
    columns=5,
    intensities=None,
    title=None,
    colorbar_title=None,
    color_range=None,
    color=None,
):
    """
    Surfaces side by side, upright, at one common scale.

    Parameters
    ----------
    meshes : sequence of trimesh.Trimesh or of (vertices, faces)
        Vertices of shape (n_vertices, 3) in one common unit, z up; faces of shape (n_faces, 3).
    titles : sequence of str, optional
        A caption below each surface.
    columns : int
        Surfaces in a row.
    intensities : sequence of ndarray of shape (n_vertices,), optional
        A number per vertex. A range that has both signs gets a diverging scale, centred on 0.
    title : str, optional
        Title of the figure.
    colorbar_title : str, optional
        What the intensities are, with their unit.
    color_range : tuple of float, optional
        (low, high) of the colour scale, by default all that the intensities span.
    color : str or sequence of str, optional
        Colour of the surfaces, one or one for each, where there are no intensities.

    Returns
    -------
    plotly.graph_objects.Figure
        A scene for each surface; their cameras and scales are identical.

    Raises
    ------
    ValueError
        If there are no meshes or more than `SCENES_SHOWN`, or if `titles`, `color` or `intensities`
        has another length than `meshes`.
    """
    _check_count(meshes)
    vertices, faces = zip(*[_vertices_and_faces(mesh) for mesh in meshes], strict=True)
    if color is None or isinstance(color, str):
        color = [color or SURFACE_COLOR] * len(vertices)
    _check_length("color", color, vertices)
    if intensities is not None:
        _check_length("intensities", intensities, vertices)
    figure, points = _gallery(vertices, titles, columns, title, colorbar=intensities is not None)
    for index, (xyz, triangles) in enumerate(zip(points, faces, strict=True)):
        paint = {"color": color[index]}
        if intensities is not None:
            values = np.asarray(intensities[index], dtype=np.float32)
            paint = {"intensity": values, "coloraxis": "coloraxis"}
        figure.add_trace(_surface(xyz, triangles, scene=_scene_name(index), **paint))
    if intensities is not None:
        _set_coloraxis(figure, intensities, colorbar_title, color_range)
    return figure


def modes_of_variation(modes, labels, title=None):
    """
    A shape model's mean and what its modes change, coloured by how far the surface moves.

    Parameters
    ----------
    modes : sequence of (minus, mean, plus)
        For each mode three surfaces in mm, as `mesh_gallery` takes them, whose vertices correspond:
        2 standard deviations below the mean, the mean, 2 standard deviations above.
    labels : sequence of str
        A name for each mode, such as "mode 1 (43 %)".
    title : str, optional
        Title of the figure.

    Returns
    -------
    plotly.graph_objects.Figure
        A row for each mode. Colour is the displacement from the mean along the mean's outward
        normal, in mm, positive where the socket is wider. The scale ends at the 99th percentile.

    Raises
    ------
    ValueError
        If `labels` has another length than `modes`, or there are so many modes that their surfaces
        are more than `SCENES_SHOWN`.
    """
    _check_length("labels", labels, modes)
    meshes, displacements, titles = [], [], []
    for (minus, mean, plus), label in zip(modes, labels, strict=True):
        start, faces = _vertices_and_faces(mean)
        normals = trimesh.Trimesh(start, faces, process=False).vertex_normals
        for mesh, step in ((minus, "\N{MINUS SIGN}2 sd"), (mean, "mean"), (plus, "+2 sd")):
            end, _ = _vertices_and_faces(mesh)
            meshes.append(mesh)
            displacements.append(np.einsum("ij,ij->i", end - start, normals))
            titles.append(f"{label}, {step}" if step != "mean" else "mean")
    # A few nodes at the brim move much farther than the rest: they may saturate.
    limit = float(np.percentile(np.abs(np.concatenate(displacements)), 99))
    return mesh_gallery(
        meshes,
        titles,
        columns=3,
        intensities=displacements,
        title=title,
        colorbar_title="mm",
        color_range=(-limit, limit),
    )


def error_maps(meshes, values, labels, unit="mm", title=None):
    """
    Where on a socket errors are: surfaces coloured by absolute and by signed errors.

    Parameters
    ----------
    meshes : sequence of trimesh.Trimesh or of (vertices, faces)
        One for each panel, as `mesh_gallery` takes them: a mean socket, say.
    values : sequence of ndarray of shape (n_vertices,)
        Errors at the vertices. A panel with values below 0 is one of signed errors.
    labels : sequence of str
        A caption below each panel.
    unit : str
        Of the errors.
    title : str, optional
        Title of the figure.

    Returns
    -------
    plotly.graph_objects.Figure
        One row. All panels of absolute errors share one scale, from 0; all of signed errors share
        one with its middle at 0. Each scale ends at the 99th percentile of what it shows.

    Raises
    ------
    ValueError
        If there are no meshes or more than `SCENES_SHOWN`, or if `values` or `labels` has another
        length than `meshes`.
    """
    figure = mesh_gallery(meshes, labels, len(meshes), intensities=values, title=title)
    is_signed = np.array([np.min(each) < 0 for each in values])
    names = {False: f"absolute, {unit}", True: f"signed, {unit}"}
    present = [signed for signed in names if signed in is_signed]
    for index, signed in enumerate(present):
        chosen = np.flatnonzero(is_signed == signed)
        shown = [values[i] for i in chosen]
        # A few nodes at the brim are much farther off than the rest: they may saturate.
        limit = float(np.percentile(np.abs(np.concatenate(shown)), 99))
        axis = "coloraxis" if index == 0 else "coloraxis2"
        _set_coloraxis(figure, shown, names[signed], (-limit if signed else 0.0, limit), axis)
        if len(present) > 1:  # one colour bar above the other
            figure.layout[axis].colorbar.update({"y": 0.75 - index / 2, "len": 0.45})
        for i in chosen:
            figure.data[i].coloraxis = axis
    return figure


def interpolation(shapes, labels, title=None, color=None):
    """
    One shape that turns into another, under a slider that works without a kernel.

    Parameters
    ----------
    shapes : sequence of ndarray of shape (n_points, 3), trimesh.Trimesh or (vertices, faces)
        The steps from the first shape to the last. All clouds or all surfaces; the vertices of
        surfaces correspond and the first one's faces serve for all.
    labels : sequence of str
        A name for each step.
    title : str, optional
        Title of the figure.
    color : str, optional
        Colour of the shape.

    Returns
    -------
    plotly.graph_objects.Figure
        A frame for each step. Only coordinates differ between frames.

    Raises
    ------
    ValueError
        If `labels` has another length than `shapes`.
    """
    _check_length("labels", labels, shapes)
    is_cloud = isinstance(shapes[0], np.ndarray)
    if is_cloud:
        # One choice of points for all: a decoder's points correspond from step to step.
        keep = _evenly_spread(shapes[0], POINTS_SHOWN)
        steps = [np.asarray(shape)[keep] for shape in shapes]
    else:
        steps = [_vertices_and_faces(shape)[0] for shape in shapes]
    figure, stacked = _gallery([np.vstack(steps)], None, 1, title, colorbar=False)
    steps = np.split(stacked[0], len(steps))
    if is_cloud:
        marker = _tinted(steps[0], color or CLOUD_COLOR) | {"size": 3, "line": {"width": 0}}
        first = {"mode": "markers", "marker": marker, "hoverinfo": "skip"}
        figure.add_trace(go.Scatter3d(**_xyz(steps[0]), **first))
    else:
        figure.add_trace(
            _surface(steps[0], _vertices_and_faces(shapes[0])[1], color=color or SURFACE_COLOR)
        )
    moved = type(figure.data[0])
    figure.frames = [
        go.Frame(data=[moved(**_xyz(xyz))], name=str(index)) for index, xyz in enumerate(steps)
    ]
    jump = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}
    figure.update_layout(
        margin_b=92,
        sliders=[
            {
                "steps": [
                    {"method": "animate", "label": label, "args": [[str(index)], jump]}
                    for index, label in enumerate(labels)
                ],
                "x": 0.12,
                "len": 0.76,
                "y": 0.0,
                "pad": {"t": 18},
                "currentvalue": {"visible": False},
                "bgcolor": BASELINE_COLOR,
                "bordercolor": GRID,
                "activebgcolor": FAINT,
                "tickcolor": FAINT,
                "font": {"size": 12, "color": FAINT},
            }
        ],
    )
    figure.layout.height += 92
    return figure


# Charts ------------------------------------------------------------------------------------------


def training_curves(histories, columns, best=None, title=None):
    """
    How each run's metrics went, epoch by epoch.

    Parameters
    ----------
    histories : dict of str -> pandas.DataFrame
        A table for each run, indexed by epoch, its columns metrics. A run that lacks a metric is
        left out of that panel.
    columns : sequence of str, or dict of str -> str
        The metrics to show, one panel each; a dict gives them titles.
    best : dict of str -> int, optional
        For a run, the epoch that was selected: it gets a marker.
    title : str, optional
        Title of the figure.

    Returns
    -------
    plotly.graph_objects.Figure
        A panel for each metric. A metric that stays positive and spans more than a
        factor of 20 is on a logarithmic axis.
    """
    titles = columns if isinstance(columns, dict) else {c: c.replace("_", " ") for c in columns}
    figure, places = _panels(list(titles.values()), title)
    for column, where in zip(titles, places, strict=True):
        shown = {name: h[column].dropna() for name, h in histories.items() if column in h}
        for name, values in shown.items():
            color = _series_color(name, list(histories))
            line = {
                "name": name,
                "legendgroup": name,
                "showlegend": name not in {t.name for t in figure.data},
                "line": {"color": color, "width": 1.8},
            }
            figure.add_trace(
                go.Scatter(x=values.index, y=values.to_numpy(), mode="lines", **line), **where
            )
            epoch = (best or {}).get(name)
            if epoch in values.index:
                dot = {"color": color, "size": 10, "line": {"color": "white", "width": 1.5}}
                figure.add_trace(
                    go.Scatter(
                        x=[epoch],
                        y=[values[epoch]],
                        mode="markers",
                        marker=dot,
                        name=f"{name}, best",
                        legendgroup=name,
                        showlegend=False,
                    ),
                    **where,
                )
        if _spans_decades(shown.values()):
            figure.update_yaxes(type="log", tickvals=LOG_TICKS, ticktext=LOG_LABELS, **where)
        figure.update_xaxes(title_text="epoch", **where)
    return figure


def latent_map(xy, kinds, names=None, prior_xy=None, explained=None, title=None):
    """
    Codes of shapes on a plane of the latent space, over the prior.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
        The codes, projected.
    kinds : sequence of str, length n
        The kind of each shape: "TT", "TF", or any other name.
    names : sequence of str, optional
        The name of each shape, shown on hovering.
    prior_xy : ndarray, shape (m, 2), optional
        Draws from the prior, projected likewise. The ellipses contain 50 %, 90 % and 99 % of a
        normal distribution of their mean and covariance: a normal prior stays normal when it is
        projected, and then r^2 = -2 ln(1 - p) standard deviations squared (Rayleigh).
    explained : tuple of float, optional
        The fraction of the codes' variance that each axis explains, [0, 1].
    title : str, optional
        Title of the figure.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    xy, kinds = np.asarray(xy), np.asarray(kinds)
    figure = go.Figure(layout=_layout(title, height=620))
    if prior_xy is not None:
        figure.add_traces(_prior_traces(np.asarray(prior_xy)))
    names = np.full(len(xy), "") if names is None else np.asarray(names)
    order = list(dict.fromkeys(kinds))
    for kind in order:
        of_kind = kinds == kind
        figure.add_trace(
            go.Scatter(
                x=xy[of_kind, 0],
                y=xy[of_kind, 1],
                text=names[of_kind],
                mode="markers",
                name=kind,
                marker={
                    "color": _series_color(kind, order),
                    "size": 8,
                    "opacity": 0.85,
                    "line": {"color": "white", "width": 0.8},
                },
                hovertemplate="%{text}<extra>%{fullData.name}</extra>",
            )
        )
    share = (
        [f" ({100 * e:.0f} % of variance)" for e in explained]
        if explained is not None
        else ["", ""]
    )
    figure.update_xaxes(title_text="first axis" + share[0], zeroline=False, constrain="domain")
    figure.update_yaxes(title_text="second axis" + share[1], zeroline=False, scaleanchor="x")
    return figure


def bars_with_baselines(table, columns=None, spread=None, baselines=(), better=None, title=None):
    """
    Models side by side on one or several metrics, baselines in grey.

    Parameters
    ----------
    table : pandas.DataFrame
        A row for each model, a column for each metric.
    columns : sequence of str, or dict of str -> str, optional
        The metrics to show, one panel each, by default all; a dict gives them titles.
    spread : pandas.DataFrame, optional
        With rows and columns as in `table`: half the length of the error bars, such as the standard
        deviation over seeds. A row or a value that is missing gets none.
    baselines : sequence of str
        The rows that are not models but what to compare them with.
    better : dict of str -> {"lower", "higher"} or float, optional
        For a metric, which way is better, or the value that is best. It is written in the panel's
        title, and a value is drawn as a line.
    title : str, optional
        Title of the figure.

    Returns
    -------
    plotly.graph_objects.Figure
        A panel for each metric, rows from top to bottom as in `table`.
    """
    better = better or {}
    titles = columns if isinstance(columns, dict) else {c: c for c in columns or table.columns}
    headings = [name + _arrow(better.get(column)) for column, name in titles.items()]
    panel_height = 60 + 30 * len(table)
    figure, places = _panels(headings, title, panel_height, shared_yaxes=True)
    models = [name for name in table.index if name not in baselines]
    colors = [
        BASELINE_COLOR if name in baselines else _series_color(name, models) for name in table.index
    ]
    for column, where in zip(titles, places, strict=True):
        values = table[column].to_numpy(dtype=float)
        reach = np.zeros(len(table))
        if spread is not None and column in spread:
            reach = np.nan_to_num(spread[column].reindex(table.index).to_numpy(dtype=float))
        figure.add_trace(
            go.Bar(
                x=values,
                y=list(table.index),
                orientation="h",
                width=0.62,
                marker={"color": colors, "line": {"width": 0}},
                error_x={
                    "type": "data",
                    "array": np.where(reach > 0, reach, np.nan),
                    "color": INK,
                    "thickness": 1.2,
                    "width": 3,
                },
                showlegend=False,
                hovertemplate="%{y}: %{x:.4g}<extra></extra>",
            ),
            **where,
        )
        # Written beyond the error bar, which a bar's own text would run into.
        ends = values + np.where(values < 0, 0.0, reach)
        figure.add_trace(
            go.Scatter(
                x=ends,
                y=list(table.index),
                text=[f" {v:.3g}" if np.isfinite(v) else "" for v in values],
                mode="text",
                textposition="middle right",
                textfont={"size": 11, "color": FAINT},
                showlegend=False,
                hoverinfo="skip",
            ),
            **where,
        )
        mark = better.get(column)
        if isinstance(mark, int | float):
            figure.add_vline(x=mark, line={"color": INK, "width": 1, "dash": "dot"}, **where)
        low, high = min(0.0, np.nanmin(values - reach)), max(0.0, np.nanmax(ends))
        figure.update_xaxes(range=[low, high + 0.2 * (high - low)], nticks=5, **where)
    figure.update_yaxes(autorange="reversed", showgrid=False, tickcolor="white")
    return figure


def compactness(measures, published=None, title=None):
    """
    Compactness, generalization and specificity of shape models against the number of modes.

    Parameters
    ----------
    measures : dict of str -> pandas.DataFrame
        For each kind a table indexed by the number of modes. Of the columns "compactness" (fraction
        of the variance, [0, 1]), "generalization" and "specificity" (mm) those present are shown.
    published : dict of str -> dict of str -> float, optional
        For a kind and a column, the value that was published: a dotted line.
    title : str, optional
        Title of the figure.

    Returns
    -------
    plotly.graph_objects.Figure
        A panel for each measure, a line for each kind.
    """
    units = {"compactness": "share of variance", "generalization": "mm", "specificity": "mm"}
    present = [c for c in units if any(c in table for table in measures.values())]
    figure, places = _panels(present, title)
    for column, where in zip(present, places, strict=True):
        for kind, table in measures.items():
            color = _series_color(kind, list(measures))
            if column in table:
                line = go.Scatter(
                    x=table.index,
                    y=table[column].to_numpy(),
                    mode="lines+markers",
                    name=kind,
                    legendgroup=kind,
                    showlegend=kind not in {trace.name for trace in figure.data},
                    line={"color": color, "width": 2},
                    marker={"size": 5},
                )
                figure.add_trace(line, **where)
            if (value := (published or {}).get(kind, {}).get(column)) is not None:
                figure.add_hline(
                    y=value,
                    line={"color": color, "width": 1.3, "dash": "dot"},
                    annotation={"text": f"{value:g}", "font": {"size": 10, "color": color}}
                    | {"x": 1, "xanchor": "left", "yanchor": "middle"},
                    **where,
                )
        figure.update_xaxes(title_text="modes", **where)
        figure.update_yaxes(title_text=units[column], **where)
    if published:
        dotted = {"color": FAINT, "width": 1.3, "dash": "dot"}
        figure.add_scatter(x=[None], y=[None], mode="lines", line=dotted, name="published")
    return figure


def learning_curve(frame, x, series, y, ylabel, marks=None, title=None):
    """
    An error against how much was learnt from, one line for each model.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each training run.
    x, series, y : str
        Its columns: the number of scans, positive; the model; the error. Rows that share the first
        two are seeds: their mean is drawn, and their standard deviation where they are several.
    ylabel : str
        What `y` is, with its unit.
    marks : dict of str -> float, optional
        Values to compare with, such as the sampling floor: dashed lines with their names.
    title : str, optional
        Title of the figure.

    Returns
    -------
    plotly.graph_objects.Figure
        `x` is on a logarithmic axis, with ticks at its values.
    """
    figure = go.Figure(layout=_layout(title, height=420))
    seeds = frame.groupby([series, x], sort=False)[y].agg(["mean", "std"]).reset_index()
    names = list(seeds[series].unique())
    for name in names:
        line = seeds[seeds[series] == name].sort_values(x)
        color = _series_color(name, names)
        figure.add_trace(
            go.Scatter(
                x=line[x].to_numpy(),
                y=line["mean"].to_numpy(),
                error_y={"type": "data", "array": line["std"].to_numpy()}
                | {"color": color, "thickness": 1.2, "width": 4},
                mode="lines+markers",
                name=name,
                line={"color": color, "width": 2},
                marker={"size": 7},
            )
        )
    for mark, value in (marks or {}).items():
        figure.add_hline(
            y=value,
            line={"color": FAINT, "width": 1.3, "dash": "dash"},
            annotation={"text": mark, "font": {"size": 11, "color": FAINT}}
            | {"x": 0, "xanchor": "left", "yanchor": "bottom"},
        )
    ticks = np.sort(frame[x].unique())
    figure.update_xaxes(
        type="log", title_text=x.replace("_", " "), tickvals=ticks, ticktext=ticks.astype(str)
    )
    figure.update_yaxes(title_text=ylabel)
    return figure


def differences(frame, title=None):
    """
    Forest plot: what each claim's difference is, with its interval, and what that answers.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each claim, indexed by its words. Columns "mean", "low", "high" and "answer" as
        `aaelib.significance` has them (an unknown interval is NaN), and "metric": what the
        difference is one of, with its unit.
    title : str, optional
        Title of the figure.

    Returns
    -------
    plotly.graph_objects.Figure
        A panel for each metric, for they have different units, and in it a row for each claim, from
        top to bottom as in `frame`; a line at zero.

    Raises
    ------
    ValueError
        If an answer is none of `significance.answer`.
    """
    if unknown := set(frame["answer"]) - set(_ANSWERS):
        raise ValueError(f"answers {sorted(unknown)}; there are {sorted(_ANSWERS)}")
    panels = list(frame.groupby("metric", sort=False))
    row, gap = 34, 76  # pixels for a claim, and between panels
    heights = [row * (len(panel) + 0.5) for _, panel in panels]
    inside = sum(heights) + gap * (len(panels) - 1)
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        row_heights=heights,
        vertical_spacing=gap / inside if len(panels) > 1 else 0,
    )
    figure.update_layout(_layout(title, height=round(inside + _TITLE + 14 + 52)))
    figure.update_layout(margin_b=52)
    for place, (metric, panel) in enumerate(panels, start=1):
        where = {"row": place, "col": 1}
        for answer, (color, symbol) in _ANSWERS.items():
            claims = panel[panel["answer"] == answer]
            figure.add_trace(
                go.Scatter(
                    x=claims["mean"].to_numpy(),
                    y=list(claims.index),
                    error_x={
                        "type": "data",
                        "array": (claims["high"] - claims["mean"]).to_numpy(),
                        "arrayminus": (claims["mean"] - claims["low"]).to_numpy(),
                        **{"color": color, "thickness": 2, "width": 5},
                    },
                    mode="markers",
                    name=answer,
                    legendgroup=answer,
                    # A name of the legend for each answer, whether some claim has it or not.
                    showlegend=place == 1,
                    marker={"color": color, "symbol": symbol, "size": 11},
                ),
                **where,
            )
        figure.add_vline(x=0, line={"color": INK, "width": 1}, **where)
        ends = np.append(panel[["mean", "low", "high"]].to_numpy(float).ravel(), 0.0)
        low, high = np.nanmin(ends), np.nanmax(ends)
        margin = 0.08 * (high - low) or 1.0  # no difference at all
        figure.update_xaxes(
            title_text=metric, range=[low - margin, high + margin], zeroline=False, **where
        )
        figure.update_xaxes(exponentformat="none", nticks=9, **where)
        figure.update_yaxes(
            **{"categoryorder": "array", "categoryarray": list(panel.index)},
            **{"range": [len(panel) - 0.5, -0.5], "showgrid": False, "tickcolor": "white"},
            tickfont={"size": 12, "color": INK},
            **where,
        )
    return figure


def nearest_histogram(distances, title=None):
    """
    How near to a training socket others are: the share of each set within a distance.

    Parameters
    ----------
    distances : dict of str -> ndarray of shape (n,)
        For each set, such as generated and test sockets, the Chamfer distances (unit spheres) to
        the nearest training socket (`aaelib.baselines.nearest_distances`).
    title : str, optional
        Title of the figure.

    Returns
    -------
    plotly.graph_objects.Figure
        A step for each socket, the empirical distribution function. A set of copies rises at 0, far
        to the left of the test sockets. Distances that span more than a factor of 20 are on a
        logarithmic axis.
    """
    figure = go.Figure(layout=_layout(title, height=420))
    for name, values in distances.items():
        values = np.sort(values)
        figure.add_trace(
            go.Scatter(
                # The lowest distance twice: the function rises there as well, from 0.
                x=np.append(values[:1], values),
                y=np.arange(len(values) + 1) / len(values),
                mode="lines",
                name=name,
                line={"shape": "hv", "width": 2, "color": _series_color(name, list(distances))},
            )
        )
    if _spans_decades(distances.values()):
        figure.update_xaxes(type="log", tickvals=LOG_TICKS, ticktext=LOG_LABELS)
    figure.update_xaxes(title_text="Chamfer distance to the nearest training socket (unit sphere)")
    figure.update_yaxes(title_text="share of sockets", range=[0, 1.02])
    return figure


def assessment(table, plausibility=None, title=None):
    """
    Who tells real from generated sockets: accuracies with intervals, and how plausible both are.

    Parameters
    ----------
    table : pandas.DataFrame
        A row for each judge, with columns "accuracy", "low" and "high" in [0, 1]
        (`aaelib.assessment.results`). Rows whose name starts with "machine:" are grey.
    plausibility : pandas.DataFrame, optional
        A row each for real and for generated sockets, with columns "mean", "sd" and "n" of scores
        from 1 to 5 (`aaelib.assessment.plausibility`). Without rows it is left out.
    title : str, optional
        Title of the figure.

    Returns
    -------
    plotly.graph_objects.Figure
        A panel of accuracies, a line at 0.5, where judges guess; and one of mean plausibility, with
        a standard deviation to either side.
    """
    has_scores = plausibility is not None and len(plausibility) > 0
    titles = ["accuracy" + _arrow(0.5), *["plausibility, mean ± sd"] * has_scores]
    figure, places = _panels(titles, title, 60 + 34 * max(len(table), 2))
    is_machine = table.index.str.startswith("machine:")
    for rows, color in ((table[~is_machine], SERIES_COLORS[0]), (table[is_machine], FAINT)):
        reach = {"array": rows["high"] - rows["accuracy"]}
        reach |= {"arrayminus": rows["accuracy"] - rows["low"]}
        figure.add_trace(_intervals(rows.index, rows["accuracy"], reach, color), **places[0])
    line = {"color": INK, "width": 1, "dash": "dot"}
    figure.add_vline(x=0.5, line=line, **places[0])
    figure.update_xaxes(range=[0, 1.02], **places[0])
    order = [list(table.index)]
    if has_scores:
        names = [f"{name}<br>n = {n:g}" for name, n in plausibility["n"].items()]
        reach = {"array": plausibility["sd"]}
        trace = _intervals(names, plausibility["mean"], reach, SERIES_COLORS[1])
        figure.add_trace(trace, **places[1])
        figure.update_xaxes(range=[0.8, 5.2], tickvals=[1, 2, 3, 4, 5], **places[1])
        order.append(names)
    for names, where in zip(order, places, strict=True):
        figure.update_yaxes(
            **{"categoryorder": "array", "categoryarray": names},
            **{"range": [len(names) - 0.5, -0.5], "showgrid": False, "tickcolor": "white"},
            **where,
        )
    return figure


def _intervals(names, values, reach, color):
    """Points, a row each, with bars as far as `reach` says to either side."""
    reach = {side: lengths.to_numpy(float) for side, lengths in reach.items()}
    return go.Scatter(
        x=values.to_numpy(float),
        y=list(names),
        error_x={"type": "data", **reach, "color": color, "thickness": 2, "width": 5},
        mode="markers",
        marker={"color": color, "size": 11},
        showlegend=False,
        hovertemplate="%{y}: %{x:.3g}<extra></extra>",
    )


# The system --------------------------------------------------------------------------------------


def system_diagram():
    """
    Schematic of the adversarial autoencoder: data, networks, losses and who minimises them.

    Returns
    -------
    plotly.graph_objects.Figure
        1000 x 420 pixels. After the adversarial autoencoder of Makhzani et al. (2015), for point
        clouds as in Zamorski et al. (2020).
    """
    figure = go.Figure(layout=_layout(None, height=420))
    figure.update_layout(width=WIDTH, margin={"l": 0, "r": 0, "t": 0, "b": 0})
    figure.update_xaxes(range=[0, 1000], visible=False, fixedrange=True)
    figure.update_yaxes(range=[0, 420], visible=False, fixedrange=True)
    data, network, code, loss = "#eef2f4", "#cfe3e8", "#e7e0ef", "#fbe5d2"
    for x, y, width, height, fill, text in (
        (105, 360, 170, 60, data, "<b>shape model</b><br>augmentation"),
        (105, 215, 170, 70, data, "<b>point cloud</b><br>2048 &times; 3"),
        (310, 215, 140, 70, network, "<b>Encoder</b><br>PointNet"),
        (490, 215, 100, 70, code, "<b>code</b> <i>z</i>"),
        (670, 215, 140, 70, network, "<b>Decoder</b>"),
        (890, 215, 180, 70, data, "<b>reconstruction</b><br>2048 &times; 3"),
        (310, 360, 140, 60, code, "<b>prior</b><br><i>N</i>(0, <i>s</i>²)"),
        (490, 360, 140, 60, network, "<b>Discriminator</b><br>prior or code?"),
        (
            830,
            388,
            300,
            48,
            loss,
            "<b>discriminator loss</b><br>discriminator optimizer updates the discriminator",
        ),
        (
            830,
            330,
            300,
            48,
            loss,
            "<b>generator loss</b><br>generator optimizer updates the encoder",
        ),
        (490, 112, 230, 56, data, "<b>transfer</b><br>weights pre-trained on ModelNet"),
        (
            815,
            44,
            330,
            56,
            loss,
            "<b>Chamfer loss</b><br>autoencoder optimizer updates encoder and decoder",
        ),
    ):
        _draw_box(figure, x, y, width, height, fill, text)
    for path in (
        [(105, 330), (105, 250)],
        [(190, 215), (240, 215)],
        [(380, 215), (440, 215)],
        [(540, 215), (600, 215)],
        [(740, 215), (800, 215)],
        [(490, 250), (490, 330)],
        [(380, 360), (420, 360)],
        [(560, 370), (680, 388)],
        [(560, 350), (680, 330)],
        [(890, 180), (890, 72)],
        [(105, 180), (105, 44), (650, 44)],
    ):
        _draw_arrow(figure, path)
    for path in ([(375, 112), (310, 112), (310, 180)], [(605, 112), (670, 112), (670, 180)]):
        _draw_arrow(figure, path, dash="dot")
    return figure


def _draw_box(figure, x, y, width, height, fill, text):
    left, right, bottom, top = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    figure.add_shape(
        type="rect",
        **{"x0": left, "x1": right, "y0": bottom, "y1": top},
        fillcolor=fill,
        line={"color": FAINT, "width": 1},
    )
    figure.add_annotation(x=x, y=y, text=text, showarrow=False, font={"size": 13, "color": INK})


def _draw_arrow(figure, path, dash="solid"):
    """Polyline through the points (x, y) of `path`, an arrow head at its end."""
    outline = "M" + " L".join(f" {x} {y}" for x, y in path)
    line = {"color": FAINT, "width": 1.5, "dash": dash}
    figure.add_shape(type="path", path=outline, line=line)
    (x0, y0), (x1, y1) = path[-2:]
    length = np.hypot(x1 - x0, y1 - y0)
    figure.add_annotation(
        **{"x": x1, "y": y1, "ax": x1 - 8 * (x1 - x0) / length, "ay": y1 - 8 * (y1 - y0) / length},
        **{"axref": "x", "ayref": "y", "text": ""},
        **{"arrowcolor": FAINT, "arrowhead": 2, "arrowwidth": 1.5},
    )


# Output ------------------------------------------------------------------------------------------


def to_png(fig, width=WIDTH, height=None, scale=1):
    """
    A figure as a static picture, by the Chrome or Chromium that is installed.

    The browser starts with the first picture and stays open for the next ones, until the process
    ends. It asks no outside host for anything.

    Parameters
    ----------
    fig : plotly.graph_objects.Figure
    width : int
        Pixels.
    height : int, optional
        Pixels, by default the figure's own height.
    scale : float
        Pixels of the picture for a pixel of the layout.

    Returns
    -------
    bytes or None
        A PNG file, or None where no browser works: then a warning says, once, what to install.
    """
    browser = _browser()
    if browser is None:
        return None
    size = {"width": width, "height": height or fig.layout.height or 450, "scale": scale}
    return _wait(browser.calc_fig(fig, opts={"format": "png", **size}))


def write_html(fig, path):
    """
    A figure as an interactive page that works offline.

    plotly.js is written once, as `plotly.min.js` beside the page, and shared by all pages there.

    Parameters
    ----------
    fig : plotly.graph_objects.Figure
    path : str or Path
        The page to write. Its folder is created when missing.
    """
    path = Path(path)
    library = path.with_name("plotly.min.js")
    script = get_plotlyjs().encode()
    if not library.exists() or library.stat().st_size != len(script):
        with replacing(library) as temporary:
            temporary.write_bytes(script)
    # No button that sends a figure's data to an outside host: shapes may be of patients.
    config = {"displaylogo": False, "responsive": True, "showSendToCloud": False}
    with replacing(path) as temporary:
        fig.write_html(temporary, include_plotlyjs=library.name, config=config, auto_play=False)


@functools.cache
def _browser():
    """Kaleido's browser, open for the life of the process; None, and a warning, if none starts."""
    import kaleido

    try:
        # plotly.js comes from the installed package; MathJax would come from an outside host.
        browser = kaleido.Kaleido(mathjax=False)
        _wait(browser.open())
    except (RuntimeError, OSError, TimeoutError) as error:
        warnings.warn(
            "No static pictures: no Chrome or Chromium that works was found. Install one (Debian "
            "and Ubuntu: apt install chromium; elsewhere: plotly_get_chrome), or name it in the "
            f"environment variable BROWSER_PATH. {error}",
            stacklevel=3,
        )
        return None
    atexit.register(lambda: _wait(browser.close()))
    return browser


@functools.cache
def _loop():
    """Event loop in a thread of its own: a notebook's own loop is busy running the cell."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="kaleido", daemon=True).start()
    return loop


def _wait(coroutine, seconds=120):
    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result(seconds)


# Parts -------------------------------------------------------------------------------------------


@functools.cache
def _template():
    axis = {"gridcolor": GRID, "linecolor": GRID, "zerolinecolor": GRID, "tickcolor": GRID}
    axis |= {"showline": True, "ticks": "outside", "ticklen": 4, "automargin": True}
    axis |= {"tickfont": {"size": 11, "color": FAINT}}
    axis |= {"title": {"font": {"size": 12, "color": FAINT}, "standoff": 8}}
    return go.layout.Template(
        layout={
            "font": {"family": "Helvetica, Arial, sans-serif", "size": 13, "color": INK},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "title": {"x": 0, "xref": "container", "y": 1, "yref": "container", "yanchor": "top"}
            | {"pad": {"t": 14, "l": 14}, "font": {"size": 16}},
            "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1}
            | {"yref": "container", "yanchor": "top"},
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def _layout(title, height):
    margin = {"l": 60, "r": 20, "t": _TITLE + 14, "b": 48}
    return go.Layout(template=_template(), height=height, margin=margin, title_text=title)


def _panels(titles, title, panel_height=250, **subplots):
    """Small multiples, up to three in a row, and where (row, col) each of them is."""
    per_row = 2 if len(titles) == 4 else min(len(titles), 3)
    rows = -(-len(titles) // per_row)
    gap = 86  # pixels between rows, for the axis below one and the title above the next
    inside = rows * panel_height + (rows - 1) * gap
    figure = make_subplots(
        rows=rows,
        cols=per_row,
        subplot_titles=titles,
        vertical_spacing=gap / inside if rows > 1 else 0,
        horizontal_spacing=0.2 / per_row,
        **subplots,
    )
    figure.update_annotations(font={"size": 13, "color": INK}, yshift=4)
    layout = _layout(title, height=inside + _TITLE + 36 + 52)
    layout.margin.update(t=_TITLE + 36, b=52)
    figure.update_layout(layout)
    return figure, [{"row": i // per_row + 1, "col": i % per_row + 1} for i in range(len(titles))]


def _gallery(shapes, titles, columns, title, colorbar):
    """Empty scenes in a grid, one for each shape, and the shapes, centred."""
    if titles is not None:
        _check_length("titles", titles, shapes)
    points = [_centred(shape) for shape in shapes]
    columns = min(columns, len(points))
    rows = -(-len(points) // columns)
    side = _COLORBAR if colorbar else 0
    top, caption = (_TITLE if title else 0), (_CAPTION if titles is not None else 0)
    width = (WIDTH - side) / columns
    height, scene = _view(points, width)
    inside = rows * (height + caption)
    figure = go.Figure(layout=_layout(title, height=round(inside + top)))
    figure.update_layout(margin={"l": 0, "r": side, "t": top, "b": 0, "autoexpand": False})
    for index in range(len(points)):
        row, column = divmod(index, columns)
        upper = 1 - row * (height + caption) / inside
        domain = {"x": [column / columns, (column + 1) / columns]}
        domain["y"] = [max(0.0, upper - height / inside), upper]
        figure.update_layout({_scene_name(index): scene | {"domain": domain}})
        if titles is not None:
            figure.add_annotation(
                text=titles[index],
                **{"xref": "paper", "yref": "paper", "showarrow": False},
                **{"x": (column + 0.5) / columns, "y": domain["y"][0] - caption / 2 / inside},
                **{"xanchor": "center", "yanchor": "middle", "font": {"size": 12, "color": FAINT}},
            )
    return figure, points


def _view(points, width):
    """
    Height of a cell of `width` pixels, and a scene in which all shapes fit at one scale.

    plotly's orthographic camera shows 2 units of `aspectratio` in the height of the scene, wherever
    the eye is. Shapes fit however they are turned about z.
    """
    radii = [np.hypot(xyz[:, 0], xyz[:, 1]) for xyz in points]
    reach = max(radius.max() for radius in radii)
    cos, sin = np.cos(_ELEVATION), np.sin(_ELEVATION)
    pairs = list(zip(points, radii, strict=True))
    above = max((xyz[:, 2] * cos + radius * sin).max() for xyz, radius in pairs)
    below = max((radius * sin - xyz[:, 2] * cos).max() for xyz, radius in pairs)
    lift, middle = (above + below) / 2, (above - below) / 2 / cos
    height = min(width * np.clip(1.02 * lift / reach, 0.6, 1.3), 240 + width / 5)
    scale = 0.96 * min(1 / lift, width / height / reach)
    # plotly cuts off what lies beyond an axis' range, which is centred on the picture's middle.
    centre = np.array([0.0, 0.0, middle])
    half = np.max([np.abs(xyz - centre).max(axis=0) for xyz in points], axis=0)
    half = np.maximum(half, 1e-3 * half.max())  # a flat shape still needs a range
    x, y, z = 2 * half * scale
    eye = [np.cos(_ELEVATION) * np.cos(_AZIMUTH), np.cos(_ELEVATION) * np.sin(_AZIMUTH)]
    scene = {
        "aspectmode": "manual",
        "aspectratio": {"x": float(x), "y": float(y), "z": float(z)},
        "camera": {
            "eye": {"x": float(eye[0]), "y": float(eye[1]), "z": float(np.sin(_ELEVATION))},
            "up": {"x": 0, "y": 0, "z": 1},
            "projection": {"type": "orthographic"},
        },
        "dragmode": "turntable",
    }
    for axis, low, high in zip("xyz", centre - half, centre + half, strict=True):
        scene[f"{axis}axis"] = {"visible": False, "range": [float(low), float(high)]}
    return float(height), scene


def _scene_name(index):
    return "scene" if index == 0 else f"scene{index + 1}"


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


def _xyz(points):
    # A copy of each column: plotly encodes contiguous float32 as base64.
    return dict(zip("xyz", np.ascontiguousarray(points.T, dtype=np.float32), strict=True))


def _tinted(xyz, color):
    """Marker whose colour pales away from the viewer: without it a cloud has no front and back."""
    toward = np.array([np.cos(_AZIMUTH), np.sin(_AZIMUTH), 0.0], dtype=np.float32)
    depth = xyz @ toward
    near = (depth - depth.min()) / max(np.ptp(depth), np.finfo(np.float32).tiny)
    paled = find_intermediate_color(hex_to_rgb(color), (255, 255, 255), 0.6, colortype="tuple")
    scale = [[0, label_rgb(paled)], [0.65, color], [1, color]]
    # Five tints: a byte a point, and pictures that compress well.
    return {
        "color": np.round(4 * near).astype(np.uint8),
        **{"colorscale": scale, "cmin": 0, "cmax": 4, "showscale": False},
    }


def _surface(xyz, faces, **paint):
    i, j, k = np.ascontiguousarray(faces.T)
    return go.Mesh3d(
        **_xyz(xyz),
        **{"i": i, "j": j, "k": k},
        **paint,
        lighting={"ambient": 0.38, "diffuse": 0.62, "specular": 0.08, "roughness": 0.5}
        | {"fresnel": 0.1},
        # plotly lights a surface from the side opposite to the position that it is given.
        lightposition={"x": 47_000, "y": 67_000, "z": -57_000},
        hoverinfo="skip",
        showlegend=False,
    )


def _set_coloraxis(figure, values, title, limits, name="coloraxis"):
    if limits is None:
        low = min(float(np.nanmin(v)) for v in values)
        high = max(float(np.nanmax(v)) for v in values)
        limits = (-max(-low, high), max(-low, high)) if low < 0 < high else (low, high)
    figure.layout[name] = {
        "colorscale": DIVERGING if limits[0] < 0 < limits[1] else SEQUENTIAL,
        "cmin": limits[0],
        "cmax": limits[1],
        "colorbar": {
            "title": {"text": title, "side": "top", "font": {"size": 12, "color": FAINT}},
            **{"thickness": 12, "len": 0.7, "x": 1.01, "outlinewidth": 0},
            "tickfont": {"size": 11, "color": FAINT},
        },
    }


def _series_color(name, names):
    if name in KIND_COLORS:
        return KIND_COLORS[name]
    # Sorted, so that the same set of runs has the same colours whichever comes first.
    others = sorted(other for other in names if other not in KIND_COLORS)
    return SERIES_COLORS[others.index(name) % len(SERIES_COLORS)]


def _arrow(better):
    if better is None:
        return ""
    return {"lower": " ↓", "higher": " ↑"}.get(better) or f" → {better:g}"


def _spans_decades(series):
    values = np.concatenate([np.asarray(s, dtype=float) for s in series] or [np.ones(1)])
    return bool(values.size and values.min() > 0 and values.max() > 20 * values.min())


def _prior_traces(xy):
    """Faint draws, and the ellipses that contain 50 %, 90 % and 99 % of a normal distribution."""
    draws = go.Scatter(
        x=xy[:, 0].astype(np.float32),
        y=xy[:, 1].astype(np.float32),
        mode="markers",
        name="prior",
        marker={"color": BASELINE_COLOR, "size": 3, "opacity": 0.35},
        hoverinfo="skip",
    )
    angles = np.linspace(0, 2 * np.pi, 121)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    to_ellipse = np.linalg.cholesky(np.cov(xy.T)).T
    rings = []
    for share in (0.5, 0.9, 0.99):
        ring = xy.mean(axis=0) + np.sqrt(-2 * np.log(1 - share)) * circle @ to_ellipse
        rings.append(
            go.Scatter(
                x=ring[:, 0],
                y=ring[:, 1],
                mode="lines",
                line={"color": BASELINE_COLOR, "width": 1},
                hovertemplate=f"{share:.0%} of the prior<extra></extra>",
                showlegend=False,
            )
        )
    return [draws, *rings]


def _check_count(shapes):
    if not 0 < len(shapes) <= SCENES_SHOWN:
        raise ValueError(
            f"A gallery of {len(shapes)} shapes: it takes 1 to {SCENES_SHOWN}, the 3D views that "
            "browsers keep on one page. Show fewer, or make several figures."
        )


def _check_length(name, items, shapes):
    if len(items) != len(shapes):
        raise ValueError(
            f"{name} has {len(items)} items for {len(shapes)} shapes: give one for each, in order."
        )
