"""The latent explorer: widgets to walk through the latent space, design a socket, take it home."""

import html
import re
from contextlib import chdir
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anywidget
import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import traitlets
from scipy.spatial import KDTree
from scipy.stats import chi2
from tabulate import tabulate

from ..metrics import pairwise_chamfer
from ..models import files
from ..shapes import printing, sources
from ..shapes.clouds import normalize
from ..shapes.sockets import vertex_values
from ..study import figures
from . import design, limbs
from .messages import reporting

HEAT_MM = 10.0  # ends of the heat map's scale
_STAND_INS = 15  # of a kind: a page that opens soon is worth more than a longer list
_POINTS_COMPARED = 512  # of a cloud, to find the nearest real socket while a slider moves
_N_LABELLED = 400  # draws of the prior, from which the direction between kinds is learnt
_N_OTHERS = 20  # sockets on which the reliability of a direction is measured

# Attribute -> its title, the slider's unit in that of `SocketSurface.measure`, its end and step.
_SLIDERS = {
    "length_mm": ("length, mm", 1, 40, 1),
    "volume_mm3": ("volume, ml", 1000, 400, 10),
    "brim_height_mean_mm": ("brim height, mm", 1, 40, 1),
    "proximal_perimeter_mm": ("proximal perimeter, mm", 1, 50, 1),
    "distal_perimeter_mm": ("distal perimeter, mm", 1, 30, 1),
    # As `design.attribute_directions` counts it: 1 from one kind to the other, TT the larger.
    "kind": ("kind, TF to TT", 1, 1, 0.05),
}
_SIZES = (  # that the page shows: title, name in `SocketSurface.measure`, unit, decimal places
    ("length, mm", "length_mm", 1, 0),
    ("volume, l", "volume_mm3", 1e6, 2),
    ("brim, mm", "brim_height_mean_mm", 1, 0),
)
_PLAIN, _FROM_START, _FROM_LIMB = "plain", "distance from A", "gap to the limb"
_ONE_SIZE = "Change one size"  # a section of the page
_HOW_TO_WANT = (
    "A size a line, in mm: <code>length_mm: 250</code>, or the perimeter at a height above the "
    "distal end, <code>60: 310</code>."
)
_HOW_TO_LIMB = (
    "The scan of a residual limb in mm, open at the top: STL, PLY or OBJ. The clearance is the gap "
    "from limb to socket."
)
_LOOKS = {"layout": {"width": "96%"}, "style": {"description_width": "8.5em"}}


def explore(model="sockets"):
    """
    Make the explorer, a widget for a notebook to show.

    Parameters
    ----------
    model : str or Path
        As `models.load` takes it; by default the one that comes with the repository.

    Returns
    -------
    ipywidgets.Widget

    Raises
    ------
    ValueError
        If the model cannot be read, or was not trained with "dataset" normalization: only then
        have its sockets a size in mm.
    """
    # A progress bar that is gone when the page is drawn would be an error: it goes nowhere.
    with widgets.Output():
        return Explorer(files.load(model), _known_sockets()).widget


def _known_sockets():
    """All public sockets, or a few stand-ins, which are drawn one by one."""
    try:
        return sources.load_sockets(source="SocketSSM")
    except FileNotFoundError:
        return sources.load_sockets(limit=_STAND_INS)


def departure(surface, start):
    """
    Distance in mm (n_vertices,) of a surface's vertices from another surface, negative inside.

    From each vertex to the nearest vertex of the other, along that one's normal. The surfaces are
    put with their lowest points at one height and their axes as they are.
    """
    mesh, other = surface.mesh(), start.mesh()
    vertices = mesh.vertices - [0, 0, mesh.vertices[:, 2].min() - other.vertices[:, 2].min()]
    nearest = KDTree(other.vertices).query(vertices)[1]
    way = vertices - other.vertices[nearest]
    return np.einsum("ij,ij->i", way, other.vertex_normals[nearest])


def plausibility(code, prior_std):
    """Share of the prior's draws that are farther from its mean than a code (chi-square)."""
    squared = np.sum((np.asarray(code, float) / prior_std) ** 2)
    return float(chi2.sf(squared, len(code)))


def parse_sizes(text):
    """
    Read wanted sizes, as `design.fit_sizes` takes them, from lines of text.

    A line is ``length_mm: 250``, or a height above the distal end and the perimeter there,
    ``60: 310``; mm. A ValueError names a line of another form.
    """
    wanted = {}
    for line in filter(str.strip, text.splitlines()):
        name, _, value = (part.strip() for part in line.partition(":"))
        try:
            wanted[float(name) if re.match(r"-?[\d.]", name) else name] = float(value)
        except ValueError:
            raise ValueError(
                f"{line.strip()!r} is no size: type a name or a height, a colon and millimetres, "
                "such as 'length_mm: 250' or '60: 310'"
            ) from None
    return wanted


# Where the explorer is ------------------------------------------------------------------------


class RealSockets:
    """Real sockets (`Shapes`) to start from and to compare with."""

    def __init__(self, aae, shapes):
        self.shapes = shapes
        self._aae, self._codes = aae, {}
        self._units = self._unit(shapes.points)

    def codes(self, indices):
        """Codes of some of them, a list; refining takes a while, so they are kept."""
        if new := [index for index in indices if index not in self._codes]:
            self._codes.update(zip(new, self._aae.encode(self.shapes.points[new]), strict=True))
        return [self._codes[index] for index in indices]

    def nearest(self, cloud):
        """Name of the socket nearest to a cloud, and their Chamfer distance in unit spheres."""
        distances = pairwise_chamfer(self._unit(cloud[None]), self._units)[0]
        return str(self.shapes.names[distances.argmin()]), float(distances.min())

    @staticmethod
    def _unit(points):
        every = max(1, points.shape[1] // _POINTS_COMPARED)
        return normalize(points[:, ::every], "unit-sphere")[0]


@dataclass(frozen=True)
class Socket:
    """A code's socket, and its index among the real sockets or None."""

    aae: object
    labelled: tuple | None
    code: np.ndarray
    index: int | None = None

    @cached_property
    def surface(self):
        return design.decoded_surface(self.aae, self.code)

    @cached_property
    def directions(self):
        # They take a second, so they are found when first needed.
        return design.attribute_directions(self.aae, self.code, self.labelled, _N_OTHERS)


@dataclass(frozen=True)
class Position:
    """
    Where in the latent space the explorer is.

    Attributes
    ----------
    start, end : Socket
        A and B.
    share : float
        Of the way from A to B, [0, 1].
    changes : dict
        How much of each attribute is added, in its unit.
    """

    start: Socket
    end: Socket
    share: float = 0.0
    changes: dict = field(default_factory=dict)

    def code(self):
        """The code (code_size,), changed along the directions at A."""
        # Both products, so that the ends are A and B to the last bit.
        code = (1 - self.share) * self.start.code + self.share * self.end.code
        for name, by in self.changes.items():
            code = code + by * self.start.directions[name].step
        return np.float32(code)


# The page -------------------------------------------------------------------------------------


class DownloadButton(anywidget.AnyWidget):
    """A button that can make the browser save a file; a press of it is a message."""

    _esm = Path(__file__).with_name("download.js")
    label = traitlets.Unicode("Download").tag(sync=True)

    def save(self, name, content):
        """Let the browser save bytes under a name."""
        self.send({"name": name}, [content])


class Controls:
    """The page's widgets, by what they are for."""

    def __init__(self, names, with_kind):
        options = [(str(name), index) for index, name in enumerate(names)]
        self.start = widgets.Dropdown(options=options, description="A", **_LOOKS)
        self.end = widgets.Dropdown(options=options, description="B", **_LOOKS)
        self.share = widgets.FloatSlider(
            min=0, max=1, step=0.01, description="from A to B", readout_format=".0%", **_LOOKS
        )
        self.changes = {
            name: widgets.FloatSlider(
                min=-end, max=end, step=step, description=title, readout_format="+", **_LOOKS
            )
            for name, (title, _, end, step) in _SLIDERS.items()
            if name != "kind" or with_kind
        }
        self.seed = widgets.BoundedIntText(max=10**6, description="seed", **_LOOKS)
        self.sample = widgets.Button(description="Draw a socket")
        self.undo = widgets.Button(description="Undo")
        self.reset = widgets.Button(description="Back to A")
        self.wanted = widgets.Textarea(rows=6, layout=_LOOKS["layout"])
        self.find = widgets.Button(description="Find the socket")
        most = limbs.MAX_CLEARANCE
        self.clearance = widgets.BoundedFloatText(
            min=-most, max=most, step=0.5, description="clearance, mm", **_LOOKS
        )
        self.limb = widgets.FileUpload(accept=",".join(limbs.FORMATS), description="Limb scan")
        self.thickness = widgets.BoundedFloatText(
            value=4, min=1, max=printing.MAX_THICKNESS, step=0.5, description="wall, mm", **_LOOKS
        )
        suffixes = [*printing.FORMATS, ".csv"]
        self.format = widgets.Dropdown(options=suffixes, description="file", **_LOOKS)
        self.download = DownloadButton()
        self.colour = widgets.Dropdown(
            options=[_PLAIN, _FROM_START], description="colour", layout={"width": "20em"}
        )
        self.points = widgets.Checkbox(description="decoded points", indent=False)
        self.message, self.sizes, self.plausible, self.reliability = (
            widgets.HTML() for _ in range(4)
        )
        self.message.add_class("aaelib-message")
        self.sections = self._sections()

    def _sections(self):
        sections = {
            "Between two sockets": (self.start, self.end, self.share),
            _ONE_SIZE: (*self.changes.values(), self.reliability),
            "New sockets": (self.seed, self.sample),
            "Design by measurement": (widgets.HTML(_HOW_TO_WANT), self.wanted, self.find),
            "Design for a limb": (widgets.HTML(_HOW_TO_LIMB), self.clearance, self.limb),
            "Take home": (self.thickness, self.format, self.download),
        }
        return widgets.Accordion(
            [widgets.VBox(parts) for parts in sections.values()],
            titles=list(sections),
            selected_index=0,
        )

    def page(self, figure):
        """All of them around the figure."""
        move = widgets.HBox([self.undo, self.reset])
        look = widgets.HBox([self.colour, self.points])
        return widgets.AppLayout(
            left_sidebar=widgets.VBox([move, self.sections, self.message]),
            center=widgets.VBox([figure, look]),
            right_sidebar=widgets.VBox([self.sizes, self.plausible]),
            pane_widths=["36%", "42%", "22%"],
        )


def _empty_figure(mesh, extent):
    """A figure for meshes like one and for points, with room for sockets of an extent (3,), mm."""
    vertices = mesh.vertices * 1.15 * extent / np.ptp(mesh.vertices, axis=0)
    gallery = figures.mesh_gallery(
        [(vertices, mesh.faces)],
        columns=1,
        intensities=[np.zeros(len(vertices))],
        colorbar_title="mm",
        color_range=(-HEAT_MM, HEAT_MM),
    )
    gallery.add_scatter3d(
        mode="markers",
        visible=False,
        marker={"size": 1.5, "color": figures.CLOUD_COLOR},
        hoverinfo="skip",
        showlegend=False,
    )
    # As wide as the page leaves it room.
    return gallery.update_layout(width=None, height=600, autosize=True)


def _place(trace, points):
    trace.x, trace.y, trace.z = np.ascontiguousarray(points.T, dtype=np.float32)


def _table(rows, headers):
    return tabulate(rows, headers, tablefmt="unsafehtml", disable_numparse=True)


def _sizes_table(sizes, start):
    """Measurements, and their differences from those of A, as HTML."""
    rows = []
    for name, key, unit, places in _SIZES:
        value, before = sizes[key] / unit, start[key] / unit
        rows.append([name, f"{value:.{places}f}", f"{value - before:+.{places}f}"])
    rows.append([f"<b>{each}</b>" for each in ("height, mm", "perimeter, mm", "area, cm²")])
    sections = sizes["heights_mm"], sizes["perimeters_mm"], np.divide(sizes["areas_mm2"], 100)
    rows.extend(np.rint(np.transpose(sections)).astype(int))
    return f'<div class="aaelib-sizes">{_table(rows, ("", "", "from A"))}</div>'


def _reliability_table(directions):
    """What each direction did where it was tried, as HTML."""
    rows = []
    for name, found in directions.items():
        if found.leak:
            title, leak = _SLIDERS[name][0].split(",")[0], max(map(abs, found.leak.values()))
            rows.append([title, f"{found.effect:.2f}", f"{leak:.1%}", f"{found.reliability:.2f}"])
    return _table(rows, ("", "effect", "others", "R²")) + (
        "<small>Of a change by 4 %: measured over wanted, the largest change of another size, and "
        "how well the direction predicts other sockets.</small>"
    )


class Explorer:
    """
    The explorer of a model with "dataset" normalization: a socket, and what changes it.

    Attributes
    ----------
    widget : ipywidgets.Widget
        The page.
    controls : Controls
    position : Position
    cloud : numpy.ndarray
        (n_points, 3), mm; the decoded code.
    surface : SocketSurface
        What is shown, and taken home.
    """

    def __init__(self, aae, shapes):
        design.check_has_size(aae)
        self.aae, self.real = aae, RealSockets(aae, shapes)
        self._past, self._moving, self._setting, self._limb = [], None, False, None
        draws = aae.draw_prior(_N_LABELLED)
        kinds = design.kinds_of(aae, draws)
        # A model that tells no kinds has no direction between them.
        labelled = (draws, kinds) if len(set(kinds)) == 2 else None
        self._socket = partial(Socket, aae, labelled)
        ends = [0, len(shapes) - 1]
        self.position = Position(*map(self._socket, self.real.codes(ends), ends))
        self.controls = Controls(shapes.names, bool(labelled))
        self._connect()
        extent = np.ptp(shapes.points, axis=1).max(axis=0)
        self.figure = _empty_figure(self.position.start.surface.mesh(), extent)
        self._set_controls()
        self._show()
        # A page starts with what the figure has when it becomes a widget.
        self.figure = go.FigureWidget(self.figure)
        self.widget = self.controls.page(self.figure)

    def _connect(self):
        """Let each control do what it is for."""
        controls = self.controls
        on_value = {
            self._choose: (controls.start, controls.end),
            self._slide: (controls.share, *controls.changes.values()),
            self._paint: (controls.colour, controls.points),
            self._fit_limb: (controls.limb,),
        }
        for react, senders in on_value.items():
            for sender in senders:
                sender.observe(self._reporting(react), names="value")
        controls.sections.observe(self._reporting(self._open), names="selected_index")
        controls.sample.on_click(self._reporting(self._draw))
        controls.undo.on_click(self._reporting(self._undo))
        controls.reset.on_click(self._reporting(self._reset))
        controls.find.on_click(self._reporting(self._fit_sizes))
        controls.download.on_msg(self._reporting(self._download))

    def _reporting(self, react):
        reported = reporting(react, self.controls.message)
        return lambda change, *_: self._setting or reported(change)

    # Moving -----------------------------------------------------------------------------------

    def _go(self, position, limb=None, remember=True):
        """Go to a position, or to the socket of a `LimbFit` there."""
        if remember:
            self._past.append(self.position)
        self.position, self._limb, self._moving = position, limb, None
        self._set_controls()
        self._show()

    def _start_at(self, code, limb=None):
        """Make a code A, and go there."""
        position = replace(self.position, start=self._socket(code), share=0.0, changes={})
        self._go(position, limb)

    def _set_controls(self):
        """Let the controls say where the explorer is, without going anywhere."""
        controls, position = self.controls, self.position
        self._setting = True
        controls.start.value, controls.end.value = position.start.index, position.end.index
        controls.share.value = position.share
        for name, slider in controls.changes.items():
            slider.value = position.changes.get(name, 0) / _SLIDERS[name][1]
        shown = [_PLAIN, _FROM_START, *([_FROM_LIMB] if self._limb else [])]
        if list(controls.colour.options) != shown:
            controls.colour.options = shown
            controls.colour.value = shown[-1] if self._limb else _PLAIN
        self._setting = False

    def _choose(self, change):
        index = change["new"]
        [code] = self.real.codes([index])
        which = "start" if change["owner"] is self.controls.start else "end"
        self._go(replace(self.position, **{which: self._socket(code, index)}))

    def _slide(self, change):
        slider, sliders = change["owner"], self.controls.changes
        changes = {name: s.value * _SLIDERS[name][1] for name, s in sliders.items() if s.value}
        position = replace(self.position, share=self.controls.share.value, changes=changes)
        # One drag of one slider is one step to undo.
        self._go(position, remember=self._moving is not slider)
        self._moving = slider

    def _draw(self, _):
        seed = self.controls.seed
        drawn = seed.value
        self._start_at(self.aae.draw_prior(1, drawn)[0])
        seed.value = min(drawn + 1, seed.max)
        return f"Drawn from the prior with seed {drawn}; it is A now."

    def _undo(self, _):
        if self._past:
            self._go(self._past.pop(), remember=False)

    def _reset(self, _):
        self._go(replace(self.position, share=0.0, changes={}))

    def _fit_sizes(self, _):
        found = design.fit_sizes(self.aae, parse_sizes(self.controls.wanted.value))
        self._start_at(found.code)
        off = ", ".join(
            f"{html.escape(name if isinstance(name, str) else f'at {name:g} mm')} {-lack:+.1f}"
            for name, lack in found.shortfalls.items()
        )
        return f"Found; it is A now. Beyond what was wanted, mm: {off}."

    def _fit_limb(self, _):
        if not self.controls.limb.value:
            return None
        upload = self.controls.limb.value[-1]
        self.controls.message.value = "Looking for the socket, some ten seconds ..."
        # By its own name alone, so that an error names it and no folder.
        with TemporaryDirectory() as folder, chdir(folder):
            path = Path(Path(upload["name"]).name)
            path.write_bytes(upload["content"])
            scan = limbs.load_limb(path)
        found = limbs.fit_limb(self.aae, scan, self.controls.clearance.value)
        self._start_at(found.code, found)
        return (
            f"Mean error of the gap {found.gap_error:.2f} mm; {found.model_error:.2f} mm without "
            "the smooth displacement that the model does not know. A slider leaves it out."
        )

    # Showing ----------------------------------------------------------------------------------

    def _show(self):
        controls, code = self.controls, self.position.code()
        self.cloud = self.aae.decode(code[None])[0]
        self.surface = self._limb.surface if self._limb else design.decoded_surface(self.aae, code)
        self._paint()
        controls.sizes.value = _sizes_table(
            self.surface.measure(), self.position.start.surface.measure()
        )
        name, distance = self.real.nearest(self.cloud)
        share = plausibility(code, self.aae.recipe.prior_std)
        controls.plausible.value = (
            f"<b>Plausible?</b><br>{share:.1%} of the prior's draws are less usual.<br>"
            f"Nearest socket of {html.escape(self.real.shapes.source)}: {html.escape(name)}, "
            f"Chamfer distance {distance:.4f} in the unit sphere."
        )
        self._show_reliability()

    def _open(self, _):
        self._show_reliability()

    def _show_reliability(self):
        sections = self.controls.sections
        if sections.titles[sections.selected_index or 0] == _ONE_SIZE:
            self.controls.reliability.value = _reliability_table(self.position.start.directions)

    def _paint(self, change=None):
        vertices = self.surface.mesh().vertices
        middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        values = np.zeros(len(vertices))
        if self.controls.colour.value == _FROM_START:
            values = departure(self.surface, self.position.start.surface)
        elif self.controls.colour.value == _FROM_LIMB and self._limb:
            values = np.nan_to_num(vertex_values(self._limb.gap))
        mesh, points = self.figure.data
        with_points = self.controls.points.value and not self._limb
        with self.figure.batch_update():
            _place(mesh, vertices - middle)
            mesh.intensity = values.astype(np.float32)
            points.visible = with_points
            if with_points:
                _place(points, self.cloud - middle)

    def _download(self, _):
        path = Path(f"socket{self.controls.format.value}")
        with TemporaryDirectory() as folder:
            if path.suffix == ".csv":
                path = printing.export_measurements(self.surface, folder / path)
            else:
                path = printing.export(self.surface, folder / path, self.controls.thickness.value)
            self.controls.download.save(path.name, path.read_bytes())
