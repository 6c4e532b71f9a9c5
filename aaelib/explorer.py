"""Widgets to explore the latent space with."""

import ipywidgets as widgets
import plotly.graph_objects as go

from . import figures, latent
from .sockets import SocketSurface


def morph(aae, start, end, labels=("A", "B"), steps=41):
    """
    A slider that drags a socket from A to B along the straight line between their codes.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    start, end : (code_size,) array
        Codes of A and B.
    labels : tuple of str
        Names of A and B.
    steps : int
        Positions of the slider.

    Returns
    -------
    ipywidgets.VBox
        The slider, the socket's length and volume, and the socket. Its children are, in this order,
        an IntSlider, an HTML and a plotly FigureWidget.
    """
    codes = latent.interpolate(start, end, steps)
    slider = widgets.IntSlider(
        value=0,
        min=0,
        max=steps - 1,
        description=f"{labels[0]} → {labels[1]}",
        readout=False,
        layout=widgets.Layout(width="70%"),
    )
    sizes = widgets.HTML()
    has_size = aae.recipe.normalization == "dataset"
    # The scene is as large as the longer of the two needs.
    ends = [_surface(aae, code) for code in (codes[0], codes[-1])]
    longer = max(ends, key=lambda surface: surface.measure()["length_mm"])
    socket = go.FigureWidget(figures.mesh_gallery([longer.mesh()], columns=1))

    def show(index):
        surface = _surface(aae, codes[index])
        size = surface.measure()
        sizes.value = f"{index / (steps - 1):.0%} of the way"
        if has_size:
            litres = size["volume_mm3"] / 1e6
            sizes.value += f": {size['length_mm']:.0f} mm long, {litres:.2f} l"
        vertices = surface.mesh().vertices
        vertices -= (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        with socket.batch_update():
            socket.data[0].x, socket.data[0].y, socket.data[0].z = vertices.T

    slider.observe(lambda change: show(change["new"]), names="value")
    show(0)
    return widgets.VBox([slider, sizes, socket])


def _surface(aae, code):
    # A decoded cloud is a little rough: smooth more than a scan.
    return SocketSurface.from_points(aae.decode(code[None])[0], smoothing=0.1)
