"""The latent explorer: widgets to walk through the latent space, design a socket, take it home."""

import html
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import anywidget
import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import traitlets
from scipy.spatial import KDTree
from scipy.stats import chi2

from ..metrics.distances import pairwise_chamfer
from ..models import files
from ..shapes import printing, sources
from ..shapes.clouds import normalize
from ..shapes.sockets import vertex_values
from ..study import figures
from . import design, limbs

HEAT_MM = 10.0  # ends of the heat map's scale
_STAND_INS = 15  # of a kind: a page that opens soon is worth more than a longer list
_POINTS_COMPARED = 512  # of a cloud, to find the nearest real socket while a slider moves


def departure(surface, start):
    """
    How far outside another socket's surface the vertices of a surface lie.

    From each vertex to the nearest vertex of the other, along that one's normal. Both are laid with
    their lowest points on one height, their axes as they are.

    Parameters
    ----------
    surface, start : SocketSurface

    Returns
    -------
    (n_vertices,) float64 array
        Of `surface.mesh()`, mm; negative inside.
    """
    mesh, other = surface.mesh(), start.mesh()
    vertices = mesh.vertices - [0, 0, mesh.vertices[:, 2].min() - other.vertices[:, 2].min()]
    nearest = KDTree(other.vertices).query(vertices)[1]
    way = vertices - other.vertices[nearest]
    return np.einsum("ij,ij->i", way, other.vertex_normals[nearest])


class RealSockets:
    """
    Real sockets to start from and to compare with.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    shapes : aaelib.data.Shapes
    """

    def __init__(self, aae, shapes):
        self.shapes = shapes
        self._aae, self._codes = aae, {}
        self._units = self._unit(shapes.points)

    def options(self):
        """(name, index) of each, as a list to choose from has them."""
        return [(str(name), index) for index, name in enumerate(self.shapes.names)]

    def codes(self, indices):
        """Codes of some of them, a list; refining takes a while, so they are kept."""
        if new := [index for index in indices if index not in self._codes]:
            self._codes.update(zip(new, self._aae.encode(self.shapes.points[new]), strict=True))
        return [self._codes[index] for index in indices]

    def nearest(self, cloud):
        """
        The real socket that is nearest in shape.

        Parameters
        ----------
        cloud : (n_points, 3) array

        Returns
        -------
        name : str
        distance : float
            Chamfer distance in unit spheres, of part of the points.
        """
        distances = pairwise_chamfer(self._unit(cloud[None]), self._units)[0]
        return str(self.shapes.names[distances.argmin()]), float(distances.min())

    @staticmethod
    def _unit(points):
        every = max(1, points.shape[1] // _POINTS_COMPARED)
        return normalize(points[:, ::every], "unit-sphere")[0]


def usualness(code, prior_std):
    """
    Share of the prior's draws that are farther from its middle than a code.

    Parameters
    ----------
    code : (code_size,) array
    prior_std : float

    Returns
    -------
    float
        In [0, 1]: the survival function of a chi-square distribution, of the squared length of the
        code in units of the prior's standard deviation.
    """
    squared = np.sum((np.asarray(code, float) / prior_std) ** 2)
    return float(chi2.sf(squared, len(code)))


class DownloadButton(anywidget.AnyWidget):
    """
    A button by which the browser saves a file that is made when it is pressed.

    Parameters
    ----------
    make : callable
        `make()` gives the file's name and its bytes; None where it has said why not.
    label : str
    """

    _esm = """
    function render({ model, el }) {
      const button = document.createElement("button");
      button.className = "jupyter-button widget-button aaelib-download";
      button.textContent = model.get("label");
      button.onclick = () => model.send("make");
      model.on("msg:custom", (message, buffers) => {
        const url = URL.createObjectURL(new Blob(buffers, { type: "application/octet-stream" }));
        const link = document.createElement("a");
        link.href = url;
        link.download = message.name;
        link.click();
        setTimeout(() => URL.revokeObjectURL(url), 60000);
      });
      el.appendChild(button);
    }
    export default { render };
    """
    label = traitlets.Unicode().tag(sync=True)

    def __init__(self, make, label="Download"):
        super().__init__(label=label)
        self._make = make
        self.on_msg(self._pressed)

    def _pressed(self, widget, content, buffers):
        made = self._make()
        if made is not None:
            name, content = made
            self.send({"name": name}, [content])


@dataclass(frozen=True)
class Position:
    """
    Where in the latent space the explorer stands.

    Parameters
    ----------
    start, end : (code_size,) array
        Codes of A and B.
    names : tuple
        Of A and B in the list of real sockets, or None.
    share : float
        Of the way from A to B, [0, 1].
    changes : dict
        Attribute -> how much of it is added, in its unit.
    """

    start: np.ndarray
    end: np.ndarray
    names: tuple = (None, None)
    share: float = 0.0
    changes: dict = field(default_factory=dict)

    def code(self, directions):
        """The code (code_size,), changed along `design.attribute_directions` from A."""
        # Both products, so that the ends are A and B to the last bit.
        code = (1 - self.share) * self.start + self.share * self.end
        for name, by in self.changes.items():
            code = code + by * directions[name].step
        return np.float32(code)


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
_N_LABELLED = 400  # draws of the prior, from which the direction between kinds is learnt
_N_OTHERS = 20  # sockets on which the reliability of a direction is measured
_PLAIN, _FROM_START, _FROM_LIMB = "plain", "distance from A", "gap to the limb"
_ONE_SIZE = "Change one size"  # the section of the page
_HOW_TO_WANT = (
    "A size a line, in mm: <code>length_mm: 250</code>, or the perimeter at a height above the "
    "distal end, <code>60: 310</code>."
)
_HOW_TO_LIMB = (
    "The scan of a residual limb in mm, open at the top: STL, PLY or OBJ. The clearance is the gap "
    "from limb to socket."
)


class Explorer:
    """
    The page: a socket, and what changes it, measures it and takes it home.

    Parameters
    ----------
    aae : AdversarialAutoencoder
        Of "dataset" normalization: only its sockets have millimetres.
    shapes : aaelib.data.Shapes
        Real sockets to start from and to compare with.

    Attributes
    ----------
    widget : ipywidgets.Widget
        The page.
    position : Position
    cloud : (n_points, 3) array
        mm; what is decoded.
    surface : SocketSurface
        What is shown, and taken home.

    Raises
    ------
    ValueError
        If the model's sockets have no size.
    """

    def __init__(self, aae, shapes):
        if aae.recipe.normalization != "dataset":
            raise ValueError(
                "the model was trained on unit spheres, so that its sockets have no millimetres; "
                'explore one of "dataset" normalization'
            )
        self.aae, self.real = aae, RealSockets(aae, shapes)
        self._past, self._moving, self._setting, self._limb = [], None, False, None
        draws = aae.draw_prior(_N_LABELLED)
        kinds = design.kinds_of(aae, draws)
        # A model of one kind, or of none that it tells, has no direction between kinds.
        self._labelled = (draws, kinds) if len(set(kinds)) == 2 else None
        ends = (0, len(shapes) - 1)
        self.position = Position(*self.real.codes(ends), names=ends)
        self._make_controls()
        self._start_anew()
        self.figure = self._empty_figure(np.ptp(shapes.points, axis=1).max(axis=0))
        self._set_controls()
        self._show()
        # A page starts with what the figure has when it becomes a widget.
        self.figure = go.FigureWidget(self.figure)
        self.widget = self._page()

    # What it is made of -----------------------------------------------------------------------

    def _make_controls(self):
        wide, style = widgets.Layout(width="96%"), {"description_width": "8.5em"}
        looks = {"layout": wide, "style": style}
        self.start, self.end = (
            widgets.Dropdown(options=self.real.options(), description=name, **looks)
            for name in ("A", "B")
        )
        self.share = widgets.FloatSlider(
            min=0, max=1, step=0.01, description="from A to B", readout_format=".0%", **looks
        )
        self.changes = {
            name: widgets.FloatSlider(
                min=-end, max=end, step=step, description=title, readout_format="+", **looks
            )
            for name, (title, _, end, step) in _SLIDERS.items()
            if name != "kind" or self._labelled
        }
        self.reliability = widgets.HTML()
        self.seed = widgets.BoundedIntText(max=10**6, description="seed", **looks)
        self.sample = widgets.Button(description="Draw a socket")
        self.undo, self.reset = (widgets.Button(description=name) for name in ("Undo", "Back to A"))
        self.colour = widgets.Dropdown(
            options=[_PLAIN, _FROM_START], description="colour", layout={"width": "20em"}
        )
        self.points = widgets.Checkbox(description="decoded points", indent=False)
        self.wanted = widgets.Textarea(rows=6, layout=wide)
        self.find = widgets.Button(description="Find the socket")
        self.clearance = widgets.BoundedFloatText(
            min=-limbs.MAX_CLEARANCE,
            max=limbs.MAX_CLEARANCE,
            step=0.5,
            description="clearance, mm",
            **looks,
        )
        self.limb = widgets.FileUpload(accept=",".join(limbs.FORMATS), description="Limb scan")
        self.thickness = widgets.BoundedFloatText(
            value=4, min=1, max=printing.MAX_THICKNESS, step=0.5, description="wall, mm", **looks
        )
        self.format = widgets.Dropdown(
            options=[*printing.FORMATS, ".csv"], description="file", **looks
        )
        self.download = DownloadButton(self._file, "Download")
        self.message, self.sizes, self.plausible = (widgets.HTML() for _ in range(3))
        self.message.add_class("aaelib-message")
        self.sections = self._sections()
        self.sections.observe(
            lambda change: self._try(self._show_reliability), names="selected_index"
        )

        for which in (self.start, self.end):
            which.observe(self._choose, names="value")
        for slider in (self.share, *self.changes.values()):
            slider.observe(self._slide, names="value")
        for control in (self.colour, self.points):
            control.observe(lambda change: self._paint(), names="value")
        for button, press in (
            (self.sample, self._draw),
            (self.undo, self._undo),
            (self.reset, self._reset),
            (self.find, self._fit_sizes),
        ):
            button.on_click(lambda _, press=press: self._try(press))
        self.limb.observe(lambda change: self._try(self._fit_limb), names="value")

    def _empty_figure(self, extent):
        # Room for more than the largest real socket.
        mesh = self.start_surface.mesh()
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

    def _page(self):
        columns = {
            "36%": [widgets.HBox([self.undo, self.reset]), self.sections, self.message],
            "42%": [self.figure, widgets.HBox([self.colour, self.points])],
            "22%": [self.sizes, self.plausible],
        }
        return widgets.HBox(
            [widgets.VBox(parts, layout={"width": width}) for width, parts in columns.items()]
        )

    # Moving -----------------------------------------------------------------------------------

    def _go(self, position, limb=None, remember=True):
        """Go to a position, or to the socket that a limb was given there."""
        if remember:
            self._past.append(self.position)
        anew = not np.array_equal(position.start, self.position.start)
        self.position, self._limb, self._moving = position, limb, None
        if anew:
            self._start_anew()
        self._set_controls()
        self._show()

    def _start_anew(self):
        """What depends on A alone."""
        self.start_surface = design.decoded_surface(self.aae, self.position.start)
        self._directions = None

    @property
    def directions(self):
        """`design.attribute_directions` at A, found when first needed: that takes a second."""
        if self._directions is None:
            self._directions = design.attribute_directions(
                self.aae,
                self.position.start,
                [name for name in _SLIDERS if name != "kind"],
                labelled=self._labelled,
                n_others=_N_OTHERS,
            )
        return self._directions

    def _set_controls(self):
        """Let the controls say where the explorer is, which is no command to go there."""
        self._setting = True
        try:
            self.start.value, self.end.value = self.position.names
            self.share.value = self.position.share
            for name, slider in self.changes.items():
                slider.value = self.position.changes.get(name, 0) / _SLIDERS[name][1]
            shown = [_PLAIN, _FROM_START, *([_FROM_LIMB] if self._limb else [])]
            if list(self.colour.options) != shown:
                self.colour.options = shown
                self.colour.value = shown[-1] if self._limb else _PLAIN
        finally:
            self._setting = False

    def _try(self, step):
        """Do what was asked for; where that cannot be, say why on the page."""
        try:
            self.message.value = ""
            self.message.value = step() or ""
        except (ValueError, OSError, RuntimeError) as error:
            self.message.value = f'<p role="alert"><b>{html.escape(str(error))}</b></p>'

    def _choose(self, change):
        if self._setting or change["new"] is None:
            return
        index, i = change["new"], 0 if change["owner"] is self.start else 1
        ends, names = [self.position.start, self.position.end], list(self.position.names)
        [ends[i]], names[i] = self.real.codes([index]), index
        position = replace(self.position, start=ends[0], end=ends[1], names=tuple(names))
        self._try(lambda: self._go(position))

    def _slide(self, change):
        if self._setting:
            return
        slider = change["owner"]
        changes = {name: s.value * _SLIDERS[name][1] for name, s in self.changes.items() if s.value}
        position = replace(self.position, share=self.share.value, changes=changes)
        # One drag of one slider is one step to undo.
        remember = self._moving is not slider
        self._try(lambda: self._go(position, remember=remember))
        self._moving = slider

    def _draw(self):
        code = self.aae.draw_prior(1, self.seed.value)[0]
        self._go(Position(code, self.position.end, (None, self.position.names[1])))
        said = f"Drawn from the prior with seed {self.seed.value}; it is A now."
        self.seed.value = min(self.seed.value + 1, self.seed.max)
        return said

    def _undo(self):
        if self._past:
            self._go(self._past.pop(), remember=False)

    def _reset(self):
        self._go(replace(self.position, share=0.0, changes={}))

    def _fit_sizes(self):
        found = design.fit(self.aae, parse_sizes(self.wanted.value))
        self._go(Position(found.code, self.position.end, (None, self.position.names[1])))
        off = ", ".join(
            f"{html.escape(name)} {-lack:+.1f}" for name, lack in _flat(found.shortfalls).items()
        )
        return f"Found; it is A now. Beyond what was wanted, mm: {off}."

    def _fit_limb(self):
        if not self.limb.value:
            return None
        upload = self.limb.value[-1]
        self.message.value = "Looking for the socket, some ten seconds ..."
        with tempfile.TemporaryDirectory() as folder:
            # Its own name, so that an error names it; no folder that a name might hold.
            path = Path(folder) / Path(upload["name"]).name
            path.write_bytes(upload["content"])
            try:
                scan = limbs.load_limb(path)
            except ValueError as error:
                raise ValueError(str(error).replace(str(path), path.name)) from error
        found = limbs.fit(self.aae, scan, self.clearance.value)
        position = Position(found.code, self.position.end, (None, self.position.names[1]))
        self._go(position, limb=found)
        return (
            f"Mean error of the gap {found.gap_error:.2f} mm; {found.model_error:.2f} mm without "
            "the smooth displacement that the model does not know. A slider leaves it out."
        )

    # Showing ----------------------------------------------------------------------------------

    def _show(self):
        code = self.position.code(self.directions if self.position.changes else {})
        self.cloud = self.aae.decode(code[None])[0]
        self.surface = self._limb.surface if self._limb else design.decoded_surface(self.aae, code)
        self._paint()
        self.sizes.value = _sizes_table(self.surface.measure(), self.start_surface.measure())
        name, distance = self.real.nearest(self.cloud)
        share = usualness(code, self.aae.recipe.prior_std)
        self.plausible.value = (
            f"<b>Plausible?</b><br>{share:.1%} of the prior's draws are less usual.<br>"
            f"Nearest socket of {html.escape(self.real.shapes.source)}: {html.escape(name)}, "
            f"Chamfer distance {distance:.4f} in the unit sphere."
        )
        self._show_reliability()

    def _show_reliability(self):
        if self.sections.titles[self.sections.selected_index or 0] == _ONE_SIZE:
            self.reliability.value = _reliability_table(self.directions)

    def _paint(self):
        vertices = self.surface.mesh().vertices
        middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        values = np.zeros(len(vertices))
        if self.colour.value == _FROM_START:
            values = departure(self.surface, self.start_surface)
        elif self.colour.value == _FROM_LIMB and self._limb:
            values = np.nan_to_num(vertex_values(self._limb.gap))
        mesh, points = self.figure.data
        with_points = self.points.value and not self._limb
        with self.figure.batch_update():
            _place(mesh, vertices - middle)
            mesh.intensity = values.astype(np.float32)
            points.visible = with_points
            if with_points:
                _place(points, self.cloud - middle)

    def _file(self):
        made = []
        self._try(lambda: made.append(self._written()))
        return made[0] if made else None

    def _written(self):
        name = f"socket{self.format.value}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            if self.format.value == ".csv":
                printing.export_measurements(self.surface, path)
            else:
                printing.export(self.surface, path, self.thickness.value)
            return name, path.read_bytes()


def explore(model="sockets"):
    """
    The explorer as a widget, to be shown by a notebook.

    Parameters
    ----------
    model : str or Path
        As `models.load` takes it; by default the one that comes with the repository.

    Returns
    -------
    ipywidgets.Widget
    """
    # What loading says goes nowhere: a progress bar that is gone when a page is drawn is an error.
    with widgets.Output():
        return Explorer(files.load(model), _known_sockets()).widget


def _known_sockets():
    """All public sockets where there are any; of stand-ins, which are drawn one by one, some."""
    try:
        return sources.load_sockets(source="SocketSSM")
    except FileNotFoundError:
        return sources.load_sockets(limit=_STAND_INS)


def parse_sizes(text):
    """
    Sizes that are wanted, as they are typed.

    Parameters
    ----------
    text : str
        A line each: ``length_mm: 250``, or a height above the distal end and the perimeter there,
        ``60: 310``; mm.

    Returns
    -------
    dict
        As `design.fit` takes it.

    Raises
    ------
    ValueError
        For a line of another form, naming it.
    """
    wanted, perimeters = {}, {}
    for line in filter(str.strip, text.splitlines()):
        name, _, value = (part.strip() for part in line.partition(":"))
        try:
            number = float(value)
        except ValueError:
            raise ValueError(
                f"{line.strip()!r} is no size: type a name or a height, a colon and millimetres, "
                "such as 'length_mm: 250' or '60: 310'"
            ) from None
        try:
            perimeters[float(name)] = number
        except ValueError:
            wanted[name] = number
    return wanted | ({"perimeters_mm": perimeters} if perimeters else {})


def _flat(sizes):
    """{name: mm}, of sizes that may hold perimeters by height."""
    perimeters = sizes.get("perimeters_mm", {})
    scalars = {name: value for name, value in sizes.items() if name != "perimeters_mm"}
    return scalars | {f"at {height:g} mm": value for height, value in perimeters.items()}


def _place(trace, points):
    trace.x, trace.y, trace.z = np.ascontiguousarray(points.T, dtype=np.float32)


def _sizes_table(sizes, start):
    """Measurements, and what they are more than those of A, as HTML."""
    rows = [("length, mm", sizes["length_mm"], start["length_mm"], 0)]
    rows += [("volume, l", sizes["volume_mm3"] / 1e6, start["volume_mm3"] / 1e6, 2)]
    rows += [("brim, mm", sizes["brim_height_mean_mm"], start["brim_height_mean_mm"], 0)]
    body = "".join(
        f"<tr><td>{name}</td><td>{value:.{places}f}</td><td>{value - before:+.{places}f}</td></tr>"
        for name, value, before, places in rows
    )
    sections = "".join(
        f"<tr><td>{height:.0f}</td><td>{perimeter:.0f}</td><td>{area / 100:.0f}</td></tr>"
        for height, perimeter, area in zip(
            sizes["heights_mm"], sizes["perimeters_mm"], sizes["areas_mm2"], strict=True
        )
    )
    return (
        f'<table class="aaelib-sizes"><tr><th></th><th></th><th>from A</th></tr>{body}'
        "<tr><th>height, mm</th><th>perimeter, mm</th><th>area, cm²</th></tr>"
        f"{sections}</table>"
    )


def _reliability_table(directions):
    """What each direction did where it was tried, as HTML."""
    rows = "".join(
        f"<tr><td>{_SLIDERS[name][0].split(',')[0]}</td><td>{found.effect:.2f}</td>"
        f"<td>{max(map(abs, found.leak.values())):.1%}</td><td>{found.reliability:.2f}</td></tr>"
        for name, found in directions.items()
        if found.leak
    )
    return (
        "<table><tr><th></th><th>effect</th><th>others</th><th>R²</th></tr>" + rows + "</table>"
        "<small>Of a change by 4 %: measured over wanted, the largest change of another size, and "
        "how well the direction predicts other sockets.</small>"
    )
