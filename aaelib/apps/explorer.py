"""The latent explorer: widgets to walk through the latent space, design a socket, take it home."""

import asyncio
import html
import json
import sys
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from urllib.parse import unquote

import anywidget
import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import traitlets
import trimesh
from scipy.spatial import KDTree
from scipy.special import chdtrc

from ..models import in_numpy, scans
from ..shapes import folders, meshes, printing, sources
from ..shapes.places import published_folders
from ..shapes.sockets import SocketSurface, check_sockets, node_values, vertex_values
from ..study import figures
from ..study.templating import texts
from . import completion, design, limb_scans, limbs, messages, posterior

HEAT_MM = 10.0  # ends of the heat map's scale
_CANDIDATES = 3  # known sockets whose walls are compared with the one that is shown
_OUTLINES = {"A": "#e4aa9e", "B": "#9eadc0"}  # light, not transparent, which is drawn twice

# As `design.attribute_directions` counts kinds: 1 from one to the other, TT the larger.
_SLIDERS = design.SLIDERS | {"kind": ("kind, TF to TT", 1, 1, 0.05)}
_PLAIN, _FROM_START, _FROM_LIMB = "plain", "distance from A", "gap minus the wanted one"
_OPEN = "undecided by ± mm, 90 %"
_NEXT = ("volume_mm3", "brim_height_mean_mm", 30.0, 60.0, 90.0, 120.0, 150.0)  # may be measured
_LIMB, _CUT = "#c9a27e", "#555555"
_TEXTS = texts("explorer_texts.html.j2")


def explore(model="sockets", at=None):
    """
    Make the explorer, a widget for a notebook to show.

    Parameters
    ----------
    model : str or Path
        As `models.load` takes it; by default the one that comes with the repository.
    at : str, optional
        Where to start: a link that the explorer gave, or its part from the # on.

    Returns
    -------
    ipywidgets.Widget

    Raises
    ------
    ValueError
        If the model cannot be read, or was not trained with "dataset" normalization: only then
        have its sockets a size in mm.
    """
    # For plotly's widgets, as for the server (`server.command`).
    sys.modules.setdefault("rfc3987_syntax", None)
    # Stand-ins are drawn one by one: a page that opens soon is worth more than a longer list.
    limit = None if published_folders(sources.SOCKETS) else 10
    aae = in_numpy.load(model)
    encoder_of_scans = scans.beside(aae, model)
    # A progress bar that is gone when the page is drawn would be an error: it goes nowhere.
    with widgets.Output():
        explorer = Explorer(aae, sources.load_sockets(limit=limit), encoder_of_scans)
    if at:
        explorer.restore(at)
    return explorer.widget


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
    return float(chdtrc(len(code), squared))


class Known:
    """
    Known sockets, to find the one that is most like another.

    Parameters
    ----------
    aae : NumpyAutoencoder or AdversarialAutoencoder
    shapes : Shapes
    """

    def __init__(self, aae, shapes):
        normalized = aae.normalize(shapes.points)[0]
        self.names, self.clouds = shapes.names, normalized * aae.scale
        # A rough code does to choose between sockets: from one pass of every fourth point.
        self.decoded = aae.decode(aae.codes(normalized[:, ::4], 0))[:, ::16]

    def nearest(self, cloud, surface):
        """
        Name of the nearest known socket, and the mean distance in mm of its points from a wall.

        The wall is given as a decoded cloud (n_points, 3) and as its surface. Decoded points
        correspond, so the nearest few are those whose decoded points are nearest.
        """
        apart = np.linalg.norm(self.decoded - cloud[::16], axis=-1).mean(axis=-1)
        few = apart.argsort()[:_CANDIDATES]
        points = self.clouds[few, ::4].reshape(-1, 3)  # in one search: it sorts the faces first
        distances = meshes.nearest_on(surface.mesh(), points)[1].reshape(len(few), -1).mean(axis=1)
        return str(self.names[few[distances.argmin()]]), float(distances.min())


def parse_sizes(text):
    """
    Read wanted sizes, as `design.fit_sizes` takes them, from lines of text.

    A line is ``length_mm: 250``, or a height above the distal end and the perimeter there,
    ``60: 310``; mm. Raises ValueError for lines of another form.
    """
    try:
        pairs = [line.split(":") for line in text.splitlines() if line.strip()]
        sizes = {name.strip(): float(value) for name, value in pairs}
        return {float(name) if name[:1].isdigit() else name: sizes[name] for name in sizes}
    except ValueError as error:
        raise ValueError(
            f"{text!r} holds something other than sizes: type on each line a name or a height, a "
            "colon and millimetres, such as 'length_mm: 250' or '60: 310'"
        ) from error


def shown_mesh(mesh, spacing=3.0):
    """A mesh with one vertex for all in a cube of so many mm: (vertices, faces), few to draw."""
    cubes = np.floor(mesh.vertices / spacing).astype(int)
    _, kept, merged = np.unique(cubes, axis=0, return_index=True, return_inverse=True)
    faces = merged.ravel()[mesh.faces]
    degenerate = (faces == np.roll(faces, 1, axis=1)).any(axis=1)
    return mesh.vertices[kept], faces[~degenerate]


def shown_points(points, n_most=1000):
    """A small tetrahedron at each of some points, to draw them as a mesh: (vertices, faces)."""
    some = points[:: len(points) // n_most + 1]
    corners = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    sides = [[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]
    faces = 4 * np.arange(len(some))[:, None, None] + sides
    return (some[:, None] + corners).reshape(-1, 3), faces.reshape(-1, 3)


# Where the explorer is ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Socket:
    """A code's socket; its index among the real sockets, if it is one of them."""

    aae: object
    labelled: tuple | None
    code: np.ndarray
    index: int | None = None

    @cached_property
    def cloud(self):
        """The decoded code (n_points, 3), mm."""
        return self.aae.decode(self.code[None])[0]

    @cached_property
    def template(self):
        """The surface that is fitted to the socket, and moves to other codes."""
        return design.Template(self.aae, self.code)

    @cached_property
    def directions(self):
        # They take a second, so they are found when first needed.
        return design.attribute_directions(self.aae, self.code, self.labelled)


@dataclass(frozen=True)
class Position:
    """
    Where in the latent space the explorer is, and the socket there.

    Attributes
    ----------
    start, end : Socket
        A and B.
    share : float
        Of the way from A to B, [0, 1].
    changes : dict
        How much of each attribute is added, in its unit, along the directions at A.
    limb : LimbFit, optional
        Its socket is shown in place of the code's.
    undecided : Posterior, optional
        Of the sizes that were wanted, or of a scan.
    other : int
        Which of its draws is shown; -1 for its best socket.
    left : bool
        The leg: sockets of codes are right ones, and their mirror images left ones.
    scan : (vertices, faces), optional
        Of a limb or a socket, beside the socket; mm.
    cut : float, optional
        Where it would be cut, mm.
    """

    start: Socket
    end: Socket
    share: float = 0.0
    changes: dict = field(default_factory=dict)
    limb: limbs.LimbFit | None = None
    undecided: posterior.Posterior | None = None
    other: int = -1
    left: bool = False
    scan: tuple | None = None
    cut: float | None = None

    @cached_property
    def socket(self):
        # Both products, so that the ends are A and B to the last bit.
        code = (1 - self.share) * self.start.code + self.share * self.end.code
        for name, by in self.changes.items():
            code = code + by * self.start.directions[name].step
        return replace(self.start, code=np.float32(code), index=None)

    @cached_property
    def surface(self):
        """
        The surface that is shown, and taken home.

        Those fitted at A and at B, each moved with the decoded points to the code, and their mean:
        A's at A and B's at B. To fit one anew takes a hundred times as long.
        """
        if self.limb:
            return self.limb.surface
        ends = [end.template.surfaces(self.socket.code[None])[0] for end in (self.start, self.end)]
        shares = np.reshape([1 - self.share, self.share], (2, 1, 1, 1))
        return self.of_leg(SocketSurface(np.sum(shares * [end.vertices for end in ends], axis=0)))

    def of_leg(self, surface):
        """A right leg's socket as it is on the leg that is shown, or the other way round."""
        return surface.mirrored() if self.left else surface


# The page -------------------------------------------------------------------------------------


class Link(anywidget.AnyWidget):
    """A button that gives a link, which the address bar of the explorer's own page has, too."""

    _esm = Path(__file__).with_name("link.js")
    state = traitlets.Unicode().tag(sync=True)


class DownloadButton(anywidget.AnyWidget):
    """A button that can make the browser save a file; a press of it is a message."""

    _esm = Path(__file__).with_name("download.js")


def _empty_figure(mesh, extent):
    """
    A figure with room for sockets of an extent (3,), mm, and a trace for each thing in it.

    A mesh like the one that is given, points, two outlines, a limb and the plane that cuts it.
    """
    vertices = mesh.vertices * 1.15 * extent / np.ptp(mesh.vertices, axis=0)
    flat, colours = [np.zeros(len(vertices))], {"color_range": (-HEAT_MM, HEAT_MM)}
    gallery = figures.mesh_gallery([(vertices, mesh.faces)], None, 1, flat, "mm", **colours)
    look = {"marker": {"size": 1.5, "color": figures.CLOUD_COLOR}, "showlegend": False}
    gallery.add_scatter3d(mode="markers", visible=False, hoverinfo="skip", **look)
    for colour in _OUTLINES.values():
        line = {"color": colour, "width": 2}
        gallery.add_scatter3d(mode="lines", line=line, showlegend=False)
    hidden = {"hoverinfo": "skip", "visible": False}
    gallery.add_mesh3d(color=_LIMB, opacity=0.35, **hidden)
    square = {"x": [-100, 100, 100, -100], "y": [-100, -100, 100, 100]}
    square |= {"i": [0, 0], "j": [1, 2], "k": [2, 3]}
    gallery.add_mesh3d(**square, color=_CUT, opacity=0.3, **hidden)
    axis = {"visible": True, "color": "#6b7780", "gridcolor": "#e6eaed", "showbackground": False}
    for name, title in {"x": "mm", "y": "mm", "z": "height, mm"}.items():
        gallery.layout.scene[f"{name}axis"].update(axis | {"title": {"text": title}})
    # Numbers beside the axes need room, and sockets stand on the ground.
    shape = gallery.layout.scene.aspectratio
    shape.update({axis: 0.85 * shape[axis] for axis in "xyz"})
    half = np.ptp(vertices[:, 2]) / 2
    gallery.layout.scene.zaxis.range = np.add(gallery.layout.scene.zaxis.range, half)
    # As wide as the page leaves it room.
    return gallery.update_layout(width=None, height=600, autosize=True)


def _place(trace, points):
    # Plotly draws anew what has changed, and takes an array with NaN for changed.
    for axis, numbers in zip("xyz", np.ascontiguousarray(points.T, dtype=np.float32), strict=True):
        if not np.array_equal(trace[axis], numbers, equal_nan=True):
            trace[axis] = numbers


def _outline(surface):
    """A line (n, 3): the brim, some rings and meridians of a surface, NaN between them."""
    grid = surface.vertices - [0, 0, surface.vertices[..., 2].min()]
    rings = [np.append(grid[:, level], grid[:1, level], axis=0) for level in (16, 32, -1)]
    lines = [*rings, *grid[::9]]
    return np.concatenate([np.append(line, [[np.nan] * 3], axis=0) for line in lines])


@contextmanager
def _as_file(upload):
    """An upload as a file of its own name alone, so that an error names it and no folder."""
    with TemporaryDirectory() as folder, chdir(folder):
        path = Path(Path(upload["name"]).name)
        path.write_bytes(upload["content"])
        yield path


class Explorer:
    """
    The explorer of a model with "dataset" normalization: a socket, and what changes it.

    Attributes
    ----------
    widget : ipywidgets.Widget
        The page.
    position : Position
        Of what is shown.
    """

    def __init__(self, aae, shapes, encoder_of_scans=None):
        design.check_has_size(aae)
        self.aae, self.shapes, self._encoder_of_scans = aae, shapes, encoder_of_scans
        self._past, self._moving, self._setting = [], None, False
        draws = aae.draw_prior(400)  # enough to learn the direction between kinds from
        kinds = design.kinds_of(aae, draws)
        # A model that tells no kinds has no direction between them.
        labelled = (draws, kinds) if len(set(kinds)) == 2 else None
        self._socket = partial(Socket, aae, labelled)
        self.real, self._known = cache(self._encode), Known(aae, shapes)
        self._scan = self._given = None
        self._cancelled = Event()
        self.position = Position(self.real(0), self.real(len(shapes) - 1))
        self._make_controls(with_kind=labelled is not None)
        extent = np.ptp(shapes.points, axis=1).max(axis=0)
        self.figure = _empty_figure(self.position.surface.mesh(), extent)
        self._go(self.position, remember=False)
        # A page starts with what the figure has when it becomes a widget.
        self.figure = go.FigureWidget(self.figure)
        # By default it draws four times as many points, which takes a machine without a GPU long.
        self.figure._config = self.figure._config | {"plotGlPixelRatio": 1}
        self.widget = self._page()

    @cached_property
    def _population(self):
        return design.population(self.aae)  # half a second, when sizes are first wanted

    def _encode(self, index):
        """The real socket of an index; refining its code takes a while."""
        return self._socket(self.aae.encode(self.shapes.points[[index]])[0], index)

    # Controls ---------------------------------------------------------------------------------

    def _make_controls(self, with_kind):
        self.message, self.sizes, self.plausible = (widgets.HTML() for _ in range(3))
        self.message.add_class("aaelib-message")
        slider, number = widgets.FloatSlider, widgets.BoundedFloatText
        names = {"options": [(str(name), index) for index, name in enumerate(self.shapes.names)]}
        self.start = self._control(widgets.Dropdown, "A", self._choose, **names)
        self.end = self._control(widgets.Dropdown, "B", self._choose, **names)
        whole = {"max": 1, "step": 0.01, "readout_format": ".0%"}
        self.share = self._control(slider, "from A to B", self._slide, **whole)
        self.changes = {}
        for name, (title, _, end, step) in _SLIDERS.items():
            if name != "kind" or with_kind:
                ends = {"min": -end, "max": end, "step": step, "readout_format": "+"}
                self.changes[name] = self._control(slider, title, self._slide, **ends)
        self.seed = self._control(widgets.BoundedIntText, "seed", max=10**6)
        self.wanted = self._control(widgets.Textarea, "", rows=6)
        self.others = self._control(widgets.Dropdown, "all have them", self._choose_other)
        plain = {"accept": ".npy,.stl,.ply,.obj", "layout": {}, "style": {}}
        self.scanned = self._control(widgets.FileUpload, "Socket scan", self._complete, **plain)
        self._make_limb_controls()
        walls = {"value": 4, "min": 1, "max": printing.MAX_THICKNESS, "step": 0.5}
        self.thickness = self._control(number, "wall, mm", **walls)
        suffixes = [*printing.FORMATS, ".csv"]
        self.format = self._control(widgets.Dropdown, "file", options=suffixes)
        narrow = {"layout": {"width": "20em"}}
        self.colour = self._control(widgets.Dropdown, "colour", self._paint, **narrow)
        box = {"indent": False, "layout": {"width": "11em"}}
        self.points = self._control(widgets.Checkbox, "decoded points", self._paint, **box)
        self.outlines = self._control(widgets.Checkbox, "A and B", self._paint, value=True, **box)
        self.sample = self._button("Draw a socket", self._draw)
        self.find = self._button("Find the socket", self._fit_sizes)
        self.undo = self._button("Undo", self._undo)
        self.reset = self._button("Back to A", self._reset)
        self.link = Link()
        follow = self._reacting(lambda message: self.restore(str(message["at"])))
        self.link.on_msg(lambda _, message, __: follow(message))
        self.download = DownloadButton()
        self.download.on_msg(self._reacting(self._download))

    def _make_limb_controls(self):
        slider, number, menu = widgets.FloatSlider, widgets.BoundedFloatText, widgets.Dropdown
        plain = {"accept": ".stl,.ply,.obj", "layout": {}, "style": {}}
        self.limb = self._control(widgets.FileUpload, "Limb scan", self._upload, **plain)
        self.example = self._button("Try an example", self._read_example)
        self.unit = self._control(menu, "unit", lambda change: self._read(change["new"]))
        ends = {"min": limb_scans.LENGTHS[0], "max": limb_scans.LENGTHS[1], "step": 1}
        self.cut = self._control(slider, "cut at, mm", self._move_cut, **ends)
        self.side = self._control(menu, "leg", options=["either", *limbs.SIDES])
        gap = {"min": -limbs.MAX_CLEARANCE, "max": limbs.MAX_CLEARANCE, "step": 0.5, "value": 3}
        regions = "distal end", "wall", "brim"
        self.clearances = [self._control(number, f"{name}, mm", **gap) for name in regions]
        self.follow = self._button("Find its socket", self._fit_limb)
        self.cancel = self._button("Cancel", lambda _: self._cancelled.set())
        self.done = self._control(widgets.FloatProgress, "", max=1)
        for widget in (self.unit, self.cut, self.follow, self.cancel):
            widget.disabled = True

    def _control(self, kind, title, react=None, **options):
        """A widget as wide as its column, its title before it, and what follows its changes."""
        look = {"layout": {"width": "96%"}, "style": {"description_width": "8.5em"}}
        control = kind(description=title, **look | options)
        if react:
            control.observe(self._reacting(react), "value")
        return control

    def _button(self, title, react):
        button = widgets.Button(description=title)
        button.on_click(self._reacting(react))
        return button

    def _reacting(self, react):
        reported = messages.reporting(react, self.message)
        return lambda change, *_: self._setting or reported(change)

    def _page(self):
        """The controls around the figure."""
        sections = {
            "Between two sockets": (self.start, self.end, self.share),
            "Change one size": self.changes.values(),
            "New sockets": (self.seed, self.sample),
            "Design by measurement": (
                *(widgets.HTML(_TEXTS.how_to_want), self.wanted, self.find, self.others),
            ),
            "Complete a scan": (widgets.HTML(_TEXTS.how_to_complete), self.scanned),
            "Design for a limb": (
                widgets.HTML(_TEXTS.how_to_limb),
                widgets.HBox([self.limb, self.example]),
                *(self.unit, self.cut, self.side, *self.clearances),
                widgets.HBox([self.follow, self.cancel]),
                self.done,
                widgets.HTML(_TEXTS.no_prosthetist),
            ),
            "Take home": (self.thickness, self.format, self.download),
        }
        boxes = [widgets.VBox([*parts]) for parts in sections.values()]
        accordion = widgets.Accordion(boxes, titles=list(sections), selected_index=0)
        move = widgets.HBox([self.undo, self.reset, self.link])
        look = widgets.HBox([self.colour, self.points, self.outlines])
        main = widgets.AppLayout(
            left_sidebar=widgets.VBox([move, self.message, accordion]),
            center=widgets.VBox([self.figure, look]),
            right_sidebar=widgets.VBox([self.plausible, self.sizes]),
            pane_widths=["36%", "42%", "22%"],
        )
        footer = _TEXTS.footer(self.shapes.source)
        page = widgets.VBox([widgets.HTML(_TEXTS.heading), main, widgets.HTML(footer)])
        page.add_class("aaelib-explorer")
        return page

    # Links ------------------------------------------------------------------------------------

    def _state(self):
        """Where the explorer is, as a link has it: names of known sockets, or codes."""
        position = self.position
        ends = [
            end.code.tolist() if end.index is None else str(self.shapes.names[end.index])
            for end in (position.start, position.end)
        ]
        state = {"a": ends[0], "b": ends[1], "share": position.share, "by": position.changes}
        return json.dumps(state | {"left": position.left}, separators=(",", ":"))

    def restore(self, link):
        """
        Go where a link leads.

        Raises a ValueError if it is no link of an explorer with this model and these sockets.
        """
        try:
            state = json.loads(unquote(link.partition("#")[2] or link))
            ends = [self._end(state[name]) for name in ("a", "b")]
            share, by = float(state["share"]), {k: float(v) for k, v in state["by"].items()}
            numbers = [share, *by.values(), *ends[0].code, *ends[1].code]
            if not (set(by) <= set(self.changes) and np.isfinite(numbers).all()):
                raise ValueError(f"{state['by']} and {share}")
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"the link {link[:200]!r} leads to no socket of this model that is known here "
                f"({error}); copy it again"
            ) from error
        left = state.get("left") is True
        self._go(Position(*ends, min(max(share, 0.0), 1.0), by, left=left))

    def _end(self, named):
        if isinstance(named, str):
            return self.real(list(map(str, self.shapes.names)).index(named))
        code = np.array(named, np.float32)
        if code.shape != (self.aae.recipe.code_size,):
            raise ValueError(f"a code has {self.aae.recipe.code_size} numbers")
        return self._socket(code)

    # Moving -----------------------------------------------------------------------------------

    def _go(self, position, remember=True):
        if remember:
            self._past.append(self.position)
        self.position, self._moving = position, None
        self._set_controls()
        self._show()

    def _start_at(self, code, **shown):
        """Make a code A, and go there."""
        self._go(Position(self._socket(code), self.position.end, **shown))

    def _set_controls(self):
        """Let the controls say where the explorer is, without going anywhere."""
        position = self.position
        self._setting = True
        self.start.value, self.end.value = position.start.index, position.end.index
        self.share.value = position.share
        self.cut.value = position.cut or self.cut.max
        for name, slider in self.changes.items():
            slider.value = position.changes.get(name, 0) / _SLIDERS[name][1]
        more = {_FROM_LIMB: position.limb, _OPEN: position.undecided}
        shown = [_PLAIN, _FROM_START, *(name for name, there in more.items() if there)]
        if list(self.colour.options) != shown:
            self.colour.options = shown
            self.colour.value = shown[-1] if shown[2:] else _PLAIN
        names = [("the most plausible", -1)]
        if position.undecided:
            chosen = position.undecided.chosen
            names += [(f"alternative {i + 1}", int(index)) for i, index in enumerate(chosen)]
        self.others.options, self.others.disabled = names, not position.undecided
        self.others.value = position.other
        self._setting = False

    def _choose(self, change):
        which = "start" if change["owner"] is self.start else "end"
        self._go(replace(self._between(), **{which: self.real(change["new"])}))

    def _between(self):
        """Where the code leads, without a limb."""
        gone = dict.fromkeys(("limb", "undecided", "scan", "cut"))
        return replace(self.position, other=-1, **gone)

    def _slide(self, change):
        slider, sliders = change["owner"], self.changes
        changes = {name: s.value * _SLIDERS[name][1] for name, s in sliders.items() if s.value}
        position = replace(self._between(), share=self.share.value, changes=changes)
        # One drag of one slider is one step to undo.
        self._go(position, remember=self._moving is not slider)
        self._moving = slider

    def _draw(self, _):
        drawn = self.seed.value
        self._start_at(self.aae.draw_prior(1, drawn)[0])
        self.seed.value = min(drawn + 1, self.seed.max)
        return f"Drawn from the prior with seed {drawn}; it is A now."

    def _undo(self, _):
        if self._past:
            self._go(self._past.pop(), remember=False)

    def _reset(self, _):
        self._go(Position(self.position.start, self.position.end, left=self.position.left))

    def _fit_sizes(self, _):
        wanted = parse_sizes(self.wanted.value)
        left_open = posterior.given_sizes(self.aae, wanted, draws=self._population)
        found = left_open.best
        self._start_at(found.code, undecided=left_open)
        lacks = found.shortfalls.items()
        beyond = [f"{design.label(name)} {-lack:+.1f}" for name, lack in lacks]
        there = design.below_brim(left_open.mean, _NEXT)
        tells = left_open.next_measurement([each for each in there if each not in wanted])
        following = [(design.label(name), share) for name, share in tells.items()]
        return _TEXTS.found_for_sizes(beyond, *following[:1])

    def _choose_other(self, change):
        left_open, index = self.position.undecided, change["new"]
        code = left_open.best.code if index < 0 else left_open.codes[index]
        kept = {"left": self.position.left, "scan": self.position.scan}
        self._start_at(code, undecided=left_open, other=index, **kept)

    def _complete(self, _):
        """Go to the whole socket of a scan that was given."""
        with _as_file(self.scanned.value[-1]) as path:
            points = folders.read_points(path)
            mesh = trimesh.Trimesh() if path.suffix.lower() == ".npy" else meshes.read(path)
        check_sockets(points[None], [path.name])
        found = completion.complete(self.aae, points, self._encoder_of_scans, path.name)
        is_left = found.side == "left"
        upright = np.diag([1, -1 if is_left else 1, 1, 1]) @ np.linalg.inv(found.motion)
        vertices, faces = shown_mesh(mesh) if len(mesh.faces) else shown_points(points)
        vertices = trimesh.transform_points(vertices, upright)
        vertices[:, 2] -= found.surface.vertices[..., 2].min()
        begun = completion.begun(self.aae, points, self._encoder_of_scans)
        left_open = posterior.given_scan(points, found, *begun)
        self._start_at(found.code, left=is_left, scan=(vertices, faces), undecided=left_open)
        return (
            f"Found ({messages.leg(found.kind, found.side)}); it is A now. "
            f"{messages.certainty(*left_open.half_widths)} Colours show where; the list of sockets "
            "made to measure has eight that fit the scan, too."
        )

    # Limbs ------------------------------------------------------------------------------------

    def _upload(self, _):
        self._given = self.limb.value[-1]
        return self._read()

    def _read_example(self, _):
        example = limb_scans.EXAMPLE
        self._given = {"name": example.name, "content": example.read_bytes()}
        return self._read()

    def _read(self, unit=None):
        """Read the scan that was given, and show it upright."""
        with _as_file(self._given) as path:
            scan = limb_scans.read_scan(path, unit)
        self._scan = scan
        self._setting = True
        self.unit.options, self.unit.value = scan.units, scan.unit
        self.cut.max = max(round(scan.length), self.cut.min)
        self.cut.value = round(scan.proposed_cut)
        self._setting = False
        self.unit.disabled = self.cut.disabled = False
        self.follow.disabled = not self.cancel.disabled  # one search at a time
        self._show_scan()
        said = f"{self._given['name']}: {scan.length:.0f} mm long, in {scan.unit}."
        return "<br>".join(map(html.escape, [said, *scan.notes]))

    def _move_cut(self, change):
        self._show_scan(remember=self._moving is not change["owner"])
        self._moving = change["owner"]

    def _show_scan(self, remember=True):
        scan = self._scan
        upright = trimesh.geometry.align_vectors(scan.axis, [0, 0, 1])
        mesh = scan.mesh.copy().apply_translation(-scan.tip).apply_transform(upright)
        mesh.vertices[:, :2] -= mesh.vertices[mesh.vertices[:, 2] < limb_scans.CUT, :2].mean(axis=0)
        cut = self.cut.value if self.cut.value < round(scan.length) else None
        shown = {"limb": None, "scan": shown_mesh(mesh), "cut": cut}
        self._go(replace(self.position, **shown), remember)

    def _fit_limb(self, _):
        limb, side = self._scan.cut(self.cut.value), self.side.value
        clearance = [each.value for each in self.clearances]

        def progress(share):
            self.done.value = share
            if self._cancelled.is_set():
                raise RuntimeError("cancelled; nothing has changed")

        wanted = {"side": None if side == "either" else side, "progress": progress}
        find = partial(limbs.fit_limb, self.aae, limb, clearance, **wanted)

        def show(search):
            self._set_busy(False)
            return self._show_fit(limb, search.result())

        self._cancelled.clear()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no page, so nothing else to do
            return self._show_fit(limb, find())
        self._set_busy(True)
        # In a thread, so that the page can be used and the search cancelled.
        self._working = loop.create_task(asyncio.to_thread(find))
        self._working.add_done_callback(self._reacting(show))
        return "Looking for the socket ..."

    def _set_busy(self, busy):
        self.follow.disabled, self.cancel.disabled = busy, not busy
        self.done.value = 0

    def _show_fit(self, limb, found):
        from . import tables  # with Numba, for which a page that opens need not wait

        scan = shown_mesh(limb.copy().apply_transform(found.placement))
        self._start_at(found.code, limb=found, left=found.side == "left", scan=scan)
        leg = messages.leg(design.kinds_of(self.aae, found.code[None])[0], found.side)
        errors = tables.limb(found).rename_axis(None)
        return _TEXTS.found_for_limb(leg, errors, *found.worst_region(), found)

    # Showing ----------------------------------------------------------------------------------

    def _show(self):
        position, before = self.position, self.position.start.template.surface.measure()
        self._paint()
        self.sizes.value = _TEXTS.sizes(position.surface.measure(), before, design.SLIDERS)
        share = plausibility(position.socket.code, self.aae.recipe.prior_std)
        # Known sockets are of right legs.
        known = self._known.nearest(position.socket.cloud, position.of_leg(position.surface))
        words = next(words for least, words in messages.PLAUSIBLE if share > least)
        self.plausible.value = _TEXTS.plausible(words, share, *known)
        self.link.state = self._state()

    def _paint(self, _=None):
        position, colour = self.position, self.colour.value
        vertices = position.surface.mesh().vertices
        ground = [0, 0, vertices[:, 2].min()]
        values = np.zeros(len(vertices))
        if colour == _FROM_START:
            values = departure(position.surface, position.of_leg(position.start.template.surface))
        elif colour == _OPEN:
            values = position.undecided.uncertainty
            if position.left:  # whose nodes go round the other way
                grid = node_values(values, *position.surface.vertices.shape[:2])
                values = vertex_values(grid[-np.arange(len(grid))])
        elif colour == _FROM_LIMB:
            off = position.limb.gap - position.limb.clearance
            values = np.nan_to_num(vertex_values(off))
        mesh, points, *outlines, scan, plane = self.figure.data
        self.figure.layout.coloraxis.showscale = colour != _PLAIN
        with_points = self.points.value and not position.limb
        with self.figure.batch_update():
            _place(mesh, vertices - ground)
            mesh.intensity = values.astype(np.float32)
            # A limb that has no socket yet is seen through A.
            is_found = position.limb or position.undecided
            mesh.opacity = 0.2 if position.scan and not is_found else 1
            points.visible = with_points
            if with_points:
                _place(points, position.socket.cloud * [1, -1 if position.left else 1, 1] - ground)
            for end, outline in zip((position.start, position.end), outlines, strict=True):
                outline.visible = self.outlines.value
                _place(outline, _outline(position.of_leg(end.template.surface)))
            scan.visible, plane.visible = position.scan is not None, position.cut is not None
            if position.scan:
                scanned, faces = position.scan
                _place(scan, scanned - ground if position.limb else scanned)
                scan.i, scan.j, scan.k = np.ascontiguousarray(faces.T, dtype=np.int32)
            if position.cut:
                plane.z = np.full(4, position.cut)

    def _download(self, _):
        with TemporaryDirectory() as folder:
            path = Path(folder, f"socket{self.format.value}")
            printing.write(self.position.surface, path, self.thickness.value)
            # The browser saves the bytes under that name.
            self.download.send({"name": path.name}, [path.read_bytes()])
