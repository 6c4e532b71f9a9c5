"""Plotly figures of sockets, trainings and latent spaces, each a function from arrays."""

import functools
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

# Transtibial is teal and transfemoral orange in every figure; other series take the next colours.
KIND_COLORS = {"TT": "#1f7a8c", "TF": "#d9792b"}
SERIES_COLORS = ("#3d5a80", "#c8553d", "#5b8e4d", "#8d6a9f", "#c39b34", "#4f9da6", "#7a5c45")
BASELINE_COLOR = "#a3abb3"
SURFACE_COLOR, CLOUD_COLOR = "#9fb8c6", "#4a6d84"
INK, FAINT, GRID = "#27313a", "#6b7780", "#e6eaed"

SEQUENTIAL = ["#bfccd4", "#ecc78a", "#e2914f", "#c24f39", "#7a1f2d"]
DIVERGING = ["#2a5d8f", "#8db6d3", "#f1f1ee", "#e5a983", "#a8402f"]

# Colours that colour-blind readers can tell apart, and symbols for prints in grey.
_ANSWERS = {
    "supported": (DIVERGING[0], "circle"),
    "not supported": (DIVERGING[-1], "x"),
    "not decidable here": (FAINT, "diamond-open"),
}

POINTS_SHOWN = 1000  # of a cloud at most, to keep a figure small

_TICKS = [digit * 10.0**power for power in range(-8, 7) for digit in (1, 2, 5)]
_LOG_AXIS = {"type": "log", "tickvals": _TICKS, "ticktext": [f"{tick:g}" for tick in _TICKS]}

WIDTH = 1000  # pixels a figure is laid out for
_HEAD, _CAPTION, _COLORBAR = 44, 26, 96  # pixels
_ELEVATION, _AZIMUTH = np.radians([22.0, -62.0])  # of the camera


# Galleries ---------------------------------------------------------------------------------------


def cloud_gallery(
    clouds, titles=None, columns=5, color=None, colorbar_title=None, color_range=None
):
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
    colorbar_title : str, optional
        What the numbers are, with their unit.
    color_range : tuple of float, optional
        (low, high) of the colour scale, by default the range of the numbers.

    Raises
    ------
    ValueError
        If there are no clouds, or if `titles` or `color` has another length than `clouds`.
    """
    _check_lengths(clouds, titles=titles, color=color)
    color = [CLOUD_COLOR] * len(clouds) if color is None else color
    values = None if isinstance(color[0], str) else color
    clouds = [np.asarray(cloud, dtype=np.float32) for cloud in clouds]
    count = int(np.clip(5500 / len(clouds), 500, POINTS_SHOWN))
    kept = [_evenly_spread(cloud, count) for cloud in clouds]
    thinned = [cloud[keep] for cloud, keep in zip(clouds, kept, strict=True)]
    figure, points = _gallery(thinned, titles, columns, values, colorbar_title, color_range)
    for xyz, paint, keep in zip(points, color, kept, strict=True):
        if values is not None:
            paint = np.asarray(paint, dtype=np.float32)[keep]
        figure.add_trace(_cloud(xyz, paint))
    return figure


def mesh_gallery(
    meshes, titles=None, columns=5, intensities=None, colorbar_title=None, color_range=None
):
    """
    Surfaces side by side in one 3D view, upright, at one scale.

    Parameters
    ----------
    meshes : sequence of trimesh.Trimesh or of (vertices, faces)
        Vertices of shape (n_vertices, 3) in one unit, z up; faces of shape (n_faces, 3).
    intensities : sequence of ndarray of shape (n_vertices,), optional
        A number for each vertex. A range with both signs gets a diverging scale, centred on 0.
    titles, columns, colorbar_title, color_range
        As for `cloud_gallery`.

    Raises
    ------
    ValueError
        As `cloud_gallery` does.
    """
    _check_lengths(meshes, titles=titles, intensities=intensities)
    vertices, faces = zip(*[_vertices_and_faces(mesh) for mesh in meshes], strict=True)
    figure, points = _gallery(vertices, titles, columns, intensities, colorbar_title, color_range)
    for index, (xyz, triangles) in enumerate(zip(points, faces, strict=True)):
        paint = {"color": SURFACE_COLOR}
        if intensities is not None:
            values = np.asarray(intensities[index], dtype=np.float32)
            paint = {"intensity": values, "coloraxis": "coloraxis"}
        figure.add_trace(_surface(xyz, triangles, **paint))
    return figure


def modes_of_variation(modes, labels):
    """
    A shape model's mean and its modes, coloured by how far the surface moves, a row for each mode.

    `modes` holds three surfaces in mm for each mode, as `mesh_gallery` takes them: 2 standard
    deviations below the mean, the mean, 2 above. Their vertices correspond. Colour is the
    displacement in mm along the mean's outward normal, positive where the socket is wider.
    """
    meshes, displacements, titles = [], [], []
    for (minus, mean, plus), label in zip(modes, labels, strict=True):
        start, faces = _vertices_and_faces(mean)
        normals = trimesh.Trimesh(start, faces, process=False).vertex_normals
        for mesh, step in ((minus, "\N{MINUS SIGN}2 sd"), (mean, "mean"), (plus, "+2 sd")):
            end, _ = _vertices_and_faces(mesh)
            meshes.append(mesh)
            displacements.append(np.einsum("ij,ij->i", end - start, normals))
            titles.append(f"{label}, {step}" if step != "mean" else "mean")
    limit = _saturation(displacements)
    return mesh_gallery(meshes, titles, 3, displacements, "mm", (-limit, limit))


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
    is_cloud = isinstance(shapes[0], np.ndarray)
    if is_cloud:
        keep = _evenly_spread(shapes[0], POINTS_SHOWN)
        steps = [shape[keep] for shape in shapes]
    else:
        steps = [_vertices_and_faces(shape)[0] for shape in shapes]
    figure, stacked = _gallery([np.vstack(steps)])
    steps = np.split(stacked[0], len(steps))
    if is_cloud:
        first = _cloud(steps[0], CLOUD_COLOR, size=3)
    else:
        first = _surface(steps[0], _vertices_and_faces(shapes[0])[1], color=SURFACE_COLOR)
    figure.add_trace(first)
    frames, stops = [], []
    jump = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}
    for index, (xyz, label) in enumerate(zip(steps, labels, strict=True)):
        frames.append(go.Frame(data=[type(first)(**_xyz(xyz))], name=str(index)))
        stops.append({"method": "animate", "label": label, "args": [[str(index)], jump]})
    figure.frames = frames
    slider = {"steps": stops, "x": 0.12, "len": 0.76, "y": 0.0, "pad": {"t": 18}}
    slider |= {"currentvalue": {"visible": False}, "font": {"size": 12, "color": FAINT}}
    slider |= {"bgcolor": BASELINE_COLOR, "bordercolor": GRID}
    slider |= {"activebgcolor": FAINT, "tickcolor": FAINT}
    figure.update_layout(margin_b=92, sliders=[slider], height=figure.layout.height + 92)
    return figure


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
    figure, places = _panels(list(columns.values()))
    for column, where in zip(columns, places, strict=True):
        shown = {name: h[column].dropna() for name, h in histories.items() if column in h}
        for name, values in shown.items():
            color = _series_color(name, histories)
            _add_line(figure, name, color, values.index, values.to_numpy(), where, width=1.8)
            if (epoch := best.get(name)) in values.index:
                figure.add_scatter(
                    x=[epoch],
                    y=[values[epoch]],
                    mode="markers",
                    marker={"color": color, "size": 10, "line": {"color": "white", "width": 1.5}},
                    name=f"{name}, best",
                    legendgroup=name,
                    showlegend=False,
                    **where,
                )
        if _spans_decades(shown.values()):
            figure.update_yaxes(**_LOG_AXIS, **where)
        figure.update_xaxes(title_text="epoch", **where)
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
    figure = go.Figure(layout=_layout(620))
    _draw_prior(figure, prior_xy)
    kinds, names = np.asarray(kinds), np.asarray(names)
    order = list(dict.fromkeys(kinds))
    dot = {"size": 8, "opacity": 0.85, "line": {"color": "white", "width": 0.8}}
    for kind in order:
        of_kind = kinds == kind
        figure.add_scatter(
            x=xy[of_kind, 0],
            y=xy[of_kind, 1],
            text=names[of_kind],
            mode="markers",
            name=kind,
            marker={"color": _series_color(kind, order), **dot},
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
        )
    first, second = (f"axis ({100 * share:.0f} % of variance)" for share in explained)
    figure.update_xaxes(title_text=f"first {first}", zeroline=False, constrain="domain")
    figure.update_yaxes(title_text=f"second {second}", zeroline=False, scaleanchor="x")
    return figure


def bars_with_baselines(table, columns, spread, baselines, better):
    """
    Models side by side on several metrics, baselines in grey.

    Parameters
    ----------
    table, spread : pandas.DataFrame
        A row for each model, from top to bottom, and a column for each metric: its value, and half
        the length of its error bar, such as the standard deviation over seeds (NaN: none).
    columns : dict of str -> str
        Metric -> title of its panel.
    baselines : sequence of str
        The rows to draw in grey.
    better : dict of str -> {"lower", "higher"} or float
        For a metric, which way is better, or the value that is best, which is drawn as a line.
    """
    arrows = {"lower": "↓", "higher": "↑"}
    headings = [
        f"{title} {arrows.get(better[column]) or f'→ {better[column]:g}'}"
        for column, title in columns.items()
    ]
    figure, places = _panels(headings, 60 + 30 * len(table), shared_yaxes=True)
    models = [name for name in table.index if name not in baselines]
    colors = [
        BASELINE_COLOR if name in baselines else _series_color(name, models) for name in table.index
    ]
    for column, where in zip(columns, places, strict=True):
        values = table[column].to_numpy(dtype=float)
        reach = np.nan_to_num(spread[column].to_numpy(dtype=float))
        error = {"type": "data", "array": np.where(reach > 0, reach, np.nan), "color": INK}
        figure.add_bar(
            x=values,
            y=list(table.index),
            orientation="h",
            width=0.62,
            marker={"color": colors, "line": {"width": 0}},
            error_x=error | {"thickness": 1.2, "width": 3},
            showlegend=False,
            hovertemplate="%{y}: %{x:.4g}<extra></extra>",
            **where,
        )
        # Written beyond the error bar, which a bar's own text would run into.
        ends = values + np.where(values < 0, 0.0, reach)
        figure.add_scatter(
            x=ends,
            y=list(table.index),
            text=[f" {v:.3g}" if np.isfinite(v) else "" for v in values],
            mode="text",
            textposition="middle right",
            textfont={"size": 11, "color": FAINT},
            showlegend=False,
            hoverinfo="skip",
            cliponaxis=False,
            **where,
        )
        if better[column] not in arrows:
            line = {"color": INK, "width": 1, "dash": "dot"}
            figure.add_vline(x=better[column], line=line, **where)
        low, high = min(0.0, np.nanmin(values - reach)), max(0.0, np.nanmax(ends))
        figure.update_xaxes(range=[low, high + 0.2 * (high - low)], nticks=5, **where)
    figure.update_yaxes(autorange="reversed", showgrid=False, tickcolor="white")
    return figure


def compactness(measures, published):
    """
    Compactness, generalization and specificity of shape models by number of modes.

    Parameters
    ----------
    measures : dict of str -> pandas.DataFrame
        For each kind a table indexed by the number of modes, with columns "compactness" (share of
        the variance, [0, 1]), "generalization" and "specificity" (mm).
    published : dict of str -> dict of str -> float
        For a kind and a column the value that was published, a dotted line.
    """
    units = {"compactness": "share of variance", "generalization": "mm", "specificity": "mm"}
    figure, places = _panels(list(units))
    dotted = {"width": 1.3, "dash": "dot"}
    for (column, unit), where in zip(units.items(), places, strict=True):
        for kind, table in measures.items():
            color, values = _series_color(kind, measures), table[column].to_numpy()
            look = {"mode": "lines+markers", "marker": {"size": 5}}
            _add_line(figure, kind, color, table.index, values, where, **look)
            if (value := published.get(kind, {}).get(column)) is not None:
                note = {"text": f"{value:g}", "font": {"size": 10, "color": color}}
                note |= {"x": 1, "xanchor": "left", "yanchor": "middle"}
                figure.add_hline(y=value, line=dotted | {"color": color}, annotation=note, **where)
        figure.update_xaxes(title_text="modes", **where)
        figure.update_yaxes(title_text=unit, **where)
    line = dotted | {"color": FAINT}
    figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name="published")
    return figure


def learning_curve(frame, x, series, y, ylabel, marks):
    """
    An error against the number of shapes learnt from, one line for each model.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each training run.
    x, series, y : str
        Its columns: the number of shapes, positive; the model; the error. Rows that share the first
        two are seeds: their mean is drawn, with their standard deviation.
    ylabel : str
        What `y` is, with its unit.
    marks : dict of str -> float
        Values to compare with, such as the sampling floor: dashed lines with their names.
    """
    figure = go.Figure(layout=_layout(420))
    seeds = frame.groupby([series, x], sort=False)[y].agg(["mean", "std"]).reset_index()
    names = list(seeds[series].unique())
    for name in names:
        runs = seeds[seeds[series] == name].sort_values(x)
        color = _series_color(name, names)
        error = {"type": "data", "array": runs["std"].to_numpy(), "color": color}
        look = {"mode": "lines+markers", "marker": {"size": 7}}
        look["error_y"] = error | {"thickness": 1.2, "width": 4}
        _add_line(figure, name, color, runs[x].to_numpy(), runs["mean"].to_numpy(), **look)
    for mark, value in marks.items():
        note = {"text": mark, "font": {"size": 11, "color": FAINT}}
        note |= {"x": 0, "xanchor": "left", "yanchor": "bottom"}
        dashed = {"color": FAINT, "width": 1.3, "dash": "dash"}
        figure.add_hline(y=value, line=dashed, annotation=note)
    ticks = np.sort(frame[x].unique())
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=ticks.astype(str))
    figure.update_xaxes(title_text=x.replace("_", " "))
    figure.update_yaxes(title_text=ylabel)
    return figure


def differences(frame):
    """
    Forest plot: the difference that each claim is about, its interval, and what that answers.

    `frame` has a row for each claim, indexed by its words, with columns "mean", "low", "high" and
    "answer" as `aaelib.metrics.inference` has them (an unknown interval is NaN), and "metric": what
    the difference is one of, with its unit. Each metric has a panel, with a line at zero.
    """
    panels = list(frame.groupby("metric", sort=False))
    row, gap = 34, 76  # pixels for a claim, and between panels
    heights = [row * (len(panel) + 0.5) for _, panel in panels]
    inside = sum(heights) + gap * (len(panels) - 1)
    figure = make_subplots(
        rows=len(panels),
        row_heights=heights,
        vertical_spacing=gap / inside if len(panels) > 1 else 0,
    )
    figure.update_layout(_layout(round(inside + _HEAD + 14 + 52)), margin_b=52)
    for place, (metric, panel) in enumerate(panels, start=1):
        where = {"row": place, "col": 1}
        for answer, (color, symbol) in _ANSWERS.items():
            claims = panel[panel["answer"] == answer]
            reach = claims["high"] - claims["mean"], claims["mean"] - claims["low"]
            # A name of the legend for each answer, whether some claim has it or not.
            look = {"name": answer, "legendgroup": answer, "showlegend": place == 1}
            _add_intervals(figure, where, claims["mean"], *reach, color, symbol=symbol, **look)
        figure.add_vline(x=0, line={"color": INK, "width": 1}, **where)
        ends = np.append(panel[["mean", "low", "high"]].to_numpy(float).ravel(), 0.0)
        low, high = np.nanmin(ends), np.nanmax(ends)
        margin = 0.08 * (high - low) or 1.0  # no difference at all
        figure.update_xaxes(title_text=metric, range=[low - margin, high + margin], **where)
        figure.update_xaxes(exponentformat="none", nticks=9, zeroline=False, **where)
        _list_from_top(figure, where, panel.index)
    figure.update_yaxes(tickfont={"size": 12, "color": INK})
    return figure


def nearest_histogram(distances):
    """
    Share of each set within a distance of the nearest training socket, a step for each socket.

    `distances` maps a set, such as generated and test sockets, to its Chamfer distances (unit
    spheres, shape (n,)). Copies of training sockets rise at 0, far to the left of test sockets.
    """
    figure = go.Figure(layout=_layout(420))
    for name, values in distances.items():
        values = np.sort(values)
        # The lowest distance twice: the function rises there as well, from 0.
        steps = np.append(values[:1], values)
        shares = np.arange(len(values) + 1) / len(values)
        _add_line(figure, name, _series_color(name, distances), steps, shares, shape="hv")
    if _spans_decades(distances.values()):
        figure.update_xaxes(**_LOG_AXIS)
    figure.update_xaxes(title_text="Chamfer distance to the nearest training socket (unit sphere)")
    figure.update_yaxes(title_text="share of sockets", range=[0, 1.02])
    return figure


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
    has_scores = len(plausibility) > 0
    titles = ["accuracy → 0.5", *["plausibility, mean ± sd"] * has_scores]
    figure, places = _panels(titles, 60 + 34 * max(len(table), 2))
    look = {"showlegend": False, "hovertemplate": "%{y}: %{x:.3g}<extra></extra>"}
    is_machine = table.index.str.startswith("machine:")
    for rows, color in ((table[~is_machine], SERIES_COLORS[0]), (table[is_machine], FAINT)):
        reach = rows["high"] - rows["accuracy"], rows["accuracy"] - rows["low"]
        _add_intervals(figure, places[0], rows["accuracy"], *reach, color, **look)
    figure.add_vline(x=0.5, line={"color": INK, "width": 1, "dash": "dot"}, **places[0])
    figure.update_xaxes(range=[0, 1.02], **places[0])
    _list_from_top(figure, places[0], table.index)
    if has_scores:
        names = [f"{name}<br>n = {n:g}" for name, n in plausibility["n"].items()]
        mean, sd = (plausibility[column].set_axis(names) for column in ("mean", "sd"))
        _add_intervals(figure, places[1], mean, sd, sd, SERIES_COLORS[1], **look)
        figure.update_xaxes(range=[0.8, 5.2], tickvals=[1, 2, 3, 4, 5], **places[1])
        _list_from_top(figure, places[1], names)
    return figure


def _add_line(figure, name, color, x, y, where=None, width=2, shape=None, mode="lines", **more):
    """Add a line to a panel; the legend of the figure names it once."""
    figure.add_scatter(
        x=x,
        y=y,
        mode=mode,
        name=name,
        legendgroup=name,
        showlegend=name not in {trace.name for trace in figure.data},
        line={"color": color, "width": width, "shape": shape},
        **more,
        **(where or {}),
    )


def _add_intervals(figure, where, values, above, below, color, symbol="circle", **more):
    """Add points, a row for each of the names that index `values`, with bars to either side."""
    error = {"type": "data", "array": above.to_numpy(float), "arrayminus": below.to_numpy(float)}
    figure.add_scatter(
        x=values.to_numpy(float),
        y=list(values.index),
        error_x=error | {"color": color, "thickness": 2, "width": 5},
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": 11},
        **more,
        **where,
    )


def _list_from_top(figure, where, names):
    """Let the y axis of a panel list names from top to bottom."""
    figure.update_yaxes(categoryorder="array", categoryarray=list(names), **where)
    figure.update_yaxes(range=[len(names) - 0.5, -0.5], **where)
    figure.update_yaxes(showgrid=False, tickcolor="white", **where)


# Output ------------------------------------------------------------------------------------------


def to_png(fig):
    """
    A figure as the bytes of a PNG file, drawn by the Chrome or Chromium that is installed.

    The browser starts with the first picture, asks no outside host for anything, and stays open
    until the process ends. Where no browser works this is None, and one warning says what to
    install.
    """
    if not _has_browser():
        return None
    return _png(fig, {"width": WIDTH, "height": fig.layout.height or 450, "scale": 1})


@functools.cache
def _has_browser():
    """Start kaleido's server if a browser works; else warn, and return False."""
    import kaleido

    # plotly.js comes from the installed package; MathJax would come from an outside host.
    options = {"mathjax": False}
    try:
        # The server itself would wait for ever for a browser that does not start.
        _png(go.Figure(), {}, kopts=options)
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


def _png(fig, size, **options):
    import kaleido

    return kaleido.calc_fig_sync(fig, opts={"format": "png", **size}, **options)


def write_html(fig, path):
    """Write a figure as an interactive page that works offline, plotly.js beside it."""
    # No button that sends a figure's data to an outside host: shapes may be of patients.
    config = {"displaylogo": False, "responsive": True, "showSendToCloud": False}
    library = share_plotly(Path(path).parent)
    with replacing(path) as temporary:
        fig.write_html(temporary, include_plotlyjs=library.name, config=config, auto_play=False)


def share_plotly(folder):
    """Write plotly.min.js into a folder, unless it is there, and return its path."""
    library, script = Path(folder) / "plotly.min.js", get_plotlyjs().encode()
    if not library.exists() or library.read_bytes() != script:
        with replacing(library) as temporary:
            temporary.write_bytes(script)
    return library


# Parts -------------------------------------------------------------------------------------------


@functools.cache
def _template():
    axis = {"gridcolor": GRID, "linecolor": GRID, "zerolinecolor": GRID, "tickcolor": GRID}
    axis |= {"showline": True, "ticks": "outside", "ticklen": 4, "automargin": True}
    axis |= {"tickfont": {"size": 11, "color": FAINT}}
    axis |= {"title": {"font": {"size": 12, "color": FAINT}, "standoff": 8}}
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yref": "container"}
    return go.layout.Template(
        layout={
            "font": {"family": "Helvetica, Arial, sans-serif", "size": 13, "color": INK},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "legend": legend | {"yanchor": "top"},
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def _layout(height):
    margin = {"l": 60, "r": 20, "t": _HEAD + 14, "b": 48}
    return go.Layout(template=_template(), height=height, margin=margin)


def _panels(titles, panel_height=250, **subplots):
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
    figure.update_layout(_layout(inside + _HEAD + 36 + 52))
    figure.update_layout(margin_t=_HEAD + 36, margin_b=52)
    return figure, [{"row": i // per_row + 1, "col": i % per_row + 1} for i in range(len(titles))]


def _gallery(shapes, titles=None, columns=1, values=None, colorbar_title=None, color_range=None):
    """An empty scene with places for the shapes in a grid, and the shapes, each at its place."""
    shapes = [_centred(shape) for shape in shapes]
    columns = min(columns, len(shapes))
    rows = -(-len(shapes) // columns)
    side, caption = _COLORBAR * (values is not None), _CAPTION * (titles is not None)
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
    ends = [end for xyz in points for end in (xyz.min(axis=0), xyz.max(axis=0))]
    ends += list(feet) if titles is not None else []
    half = np.abs(np.array(ends) - centre).max(axis=0)
    half = np.maximum(half, 1e-3 * half.max())  # a flat shape still needs a range
    figure = go.Figure(layout=_layout(round(rows * (height + caption))))
    figure.update_layout(margin={"l": 0, "r": side, "t": 0, "b": 0, "autoexpand": False})
    eye = [cos * np.cos(_AZIMUTH), cos * np.sin(_AZIMUTH), sin]
    camera = {"eye": _by_axis(eye), "up": {"x": 0, "y": 0, "z": 1}}
    # An orthographic camera shows 2 units of `aspectratio` in the height of the scene.
    figure.layout.scene = {
        "aspectmode": "manual",
        "aspectratio": _by_axis(4 * half * scale / figure.layout.height),
        "camera": camera | {"projection": {"type": "orthographic"}},
        "dragmode": "turntable",
    }
    for axis, low, high in zip("xyz", centre - half, centre + half, strict=True):
        figure.layout.scene[f"{axis}axis"] = {"visible": False, "range": [float(low), float(high)]}
    if columns > 1:
        figure.layout.width = WIDTH  # where it is narrower, the camera would cut off the sides
    if titles is not None:
        label = {"showarrow": False, "font": {"size": 12, "color": FAINT}}
        figure.layout.scene.annotations = [
            label | {"text": text} | _by_axis(foot) for text, foot in zip(titles, feet, strict=True)
        ]
    if values is not None:
        figure.layout.coloraxis = _coloraxis(values, colorbar_title, color_range)
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


def _by_axis(numbers):
    return {axis: float(number) for axis, number in zip("xyz", numbers, strict=True)}


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


def _cloud(xyz, paint, size=2.5):
    """Points of one colour, or coloured by a number each on the figure's scale."""
    if isinstance(paint, str):
        marker, hover = _tinted(xyz, paint), {"hoverinfo": "skip"}
    else:
        marker = {"color": paint, "coloraxis": "coloraxis"}
        hover = {"hovertemplate": "%{marker.color:.3g}<extra></extra>"}
    marker |= {"size": size, "line": {"width": 0}}
    look = {"mode": "markers", "marker": marker, "showlegend": False}
    return go.Scatter3d(**_xyz(xyz), **look, **hover)


def _tinted(xyz, color):
    """Marker whose colour pales away from the viewer: without it a cloud has no front and back."""
    toward = np.array([np.cos(_AZIMUTH), np.sin(_AZIMUTH), 0.0], dtype=np.float32)
    depth = xyz @ toward
    near = (depth - depth.min()) / max(np.ptp(depth), np.finfo(np.float32).tiny)
    paled = find_intermediate_color(hex_to_rgb(color), (255, 255, 255), 0.6, colortype="tuple")
    scale = [[0, label_rgb(paled)], [0.65, color], [1, color]]
    # Five tints: a byte a point, and pictures that compress well.
    tints = np.round(4 * near).astype(np.uint8)
    return {"color": tints, "colorscale": scale, "cmin": 0, "cmax": 4, "showscale": False}


def _surface(xyz, faces, **paint):
    i, j, k = np.ascontiguousarray(faces.T)
    lighting = {"ambient": 0.38, "diffuse": 0.62, "specular": 0.08, "roughness": 0.5}
    return go.Mesh3d(
        **_xyz(xyz),
        **{"i": i, "j": j, "k": k},
        **paint,
        lighting=lighting | {"fresnel": 0.1},
        # plotly lights a surface from the side opposite to the position that it is given.
        lightposition={"x": 47_000, "y": 67_000, "z": -57_000},
        hoverinfo="skip",
        showlegend=False,
    )


def _coloraxis(values, title, limits):
    """Colour scale of `limits` (by default the range of the values), diverging around 0."""
    if limits is None:
        low, high = min(map(np.nanmin, values)), max(map(np.nanmax, values))
        limits = (-max(-low, high), max(-low, high)) if low < 0 < high else (low, high)
    colorbar = {"title": {"text": title, "side": "top", "font": {"size": 12, "color": FAINT}}}
    colorbar |= {"thickness": 12, "len": 0.7, "x": 1.01, "outlinewidth": 0}
    colorbar |= {"tickfont": {"size": 11, "color": FAINT}}
    colors = DIVERGING if limits[0] < 0 < limits[1] else SEQUENTIAL
    return {"colorscale": colors, "cmin": limits[0], "cmax": limits[1], "colorbar": colorbar}


def _saturation(values):
    """End of a colour scale: a few nodes at the brim are much farther off than the rest."""
    return float(np.percentile(np.abs(np.concatenate(values)), 99))


def _series_color(name, names):
    if name in KIND_COLORS:
        return KIND_COLORS[name]
    # Sorted, so that the same set of runs has the same colours whichever comes first.
    others = sorted(other for other in names if other not in KIND_COLORS)
    return SERIES_COLORS[others.index(name) % len(SERIES_COLORS)]


def _spans_decades(series):
    values = np.concatenate([np.asarray(s, dtype=float) for s in series] or [np.ones(1)])
    return bool(values.size and values.min() > 0 and values.max() > 20 * values.min())


def _draw_prior(figure, xy):
    """
    Draw the prior: faint points, and ellipses that hold 50 %, 90 % and 99 % of a normal one.

    A normal prior stays normal when it is projected, and holds a share p within
    r^2 = -2 ln(1 - p) standard deviations squared (Rayleigh).
    """
    figure.add_scatter(
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
    for share in (0.5, 0.9, 0.99):
        ring = xy.mean(axis=0) + np.sqrt(-2 * np.log(1 - share)) * circle @ to_ellipse
        figure.add_scatter(
            x=ring[:, 0],
            y=ring[:, 1],
            mode="lines",
            line={"color": BASELINE_COLOR, "width": 1},
            hovertemplate=f"{share:.0%} of the prior<extra></extra>",
            showlegend=False,
        )


def _check_lengths(shapes, **lists):
    """Raise ValueError if there is no shape to show, or a list has another length."""
    if len(shapes) == 0:
        raise ValueError("A gallery of 0 shapes: it takes 1 or more.")
    for name, items in lists.items():
        if items is not None and len(items) != len(shapes):
            raise ValueError(
                f"{name} has {len(items)} items for {len(shapes)} shapes: give one for each, in "
                "order."
            )
