"""The explorer as one page that needs no kernel: the decoder runs in the browser."""

import json
from base64 import b64encode

import numpy as np
from plotly.offline import get_plotlyjs
from scipy.stats import chi2

from ..models import in_numpy
from ..shapes import sources
from ..shapes.writing import replacing
from ..study.templating import render
from . import design
from .messages import PLAUSIBLE

_SIZES = "length_mm", "volume_mm3", "proximal_perimeter_mm"
SLIDERS = {name: design.SLIDERS[name] for name in _SIZES}
_MODES = 4  # numbers of the code that have a slider each
_STEP = 0.25  # of squared distances from the prior's mean, in its variance


def write(path, model="sockets"):
    """
    Write the explorer as one HTML file that opens from a disk and asks no host for anything.

    A and B can be the first 15 sockets of each kind that `load_sockets` has.

    The decoder's last kernel is stored in 8 bits: points are within 0.02 mm of those of
    `AdversarialAutoencoder.decode`. Surfaces move with the decoded points from one that is fitted
    for each kind (`design.Template`): lengths are mostly within 1 % of those of surfaces that are
    fitted one by one.

    Parameters
    ----------
    path : str or Path
        The page.
    model : str or Path
        As `models.load` takes it: one with "dataset" normalization that tells kinds apart.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the model's sockets have no size, or it does not tell kinds apart.
    """
    aae = in_numpy.load(model)
    design.check_has_size(aae)
    if not design.tells_kinds(aae):
        raise ValueError(f"{model} has no linear model for each kind of socket: a page needs them")
    shapes = sources.load_sockets(limit=15)
    data = json.dumps(_contents(aae, shapes)).replace("<", "\\u003c")
    page = render("explorer.html.j2", data=data, plotly=get_plotlyjs(), source=shapes.source)
    with replacing(path) as temporary:
        temporary.write_bytes(page.encode())
    return path


def _contents(aae, shapes):
    """All that the page's script knows."""
    *dense, kernel, bias, gate_kernel, gate_bias, terms = aae.decoder
    steps = np.maximum(np.abs(kernel).max(axis=0) / 127, np.finfo(np.float32).tiny)
    codes, draws = aae.encode(shapes.points), aae.draw_prior(400, 0)
    kinds, of_draws = design.kinds_of(aae, codes), design.kinds_of(aae, draws)
    sockets = [
        {"name": str(name), "kind": str(kind), "code": code.tolist()}
        for name, kind, code in zip(shapes.names, kinds, codes, strict=True)
    ]
    middles = [draws[of_draws == kind].mean(axis=0) for kind in design.KINDS]
    return {
        "scale": aae.scale,
        "prior_std": aae.recipe.prior_std,
        "hidden": [
            {"kernel": _packed(each, "f2"), "bias": _packed(its_bias, "f4")}
            for each, its_bias in zip(dense[::2], dense[1::2], strict=True)
        ],
        "kernel": _packed(np.rint(kernel / steps), "i1"),
        "steps": _packed(steps, "f4"),
        "bias": _packed(bias, "f4"),
        "gate_kernel": gate_kernel.astype(float).T.tolist(),
        "gate_bias": gate_bias.astype(float).tolist(),
        "terms": _packed(terms, "f4"),
        "farther": chi2.sf(np.arange(0, 6 * len(middles[0]), _STEP), len(middles[0])).tolist(),
        "farther_step": _STEP,
        "templates": [_template(aae, code) for code in middles],
        "sockets": sockets,
        "sliders": SLIDERS,
        "modes": _MODES,
        "plausible": PLAUSIBLE,
    }


def _template(aae, code):
    """A fitted surface, how it moves with the points, and directions of sizes."""
    template, found = design.Template(aae, code), design.attribute_directions(aae, code)
    nodes = len(template.surface.vertices.reshape(-1, 3))
    return {
        "code": np.asarray(code, float).tolist(),
        "shape": list(template.surface.vertices.shape[:2]),
        "grid": _packed(template.surface.vertices, "f4"),
        "points": _packed(template.weights.indices.reshape(nodes, -1), "u2"),
        "weights": _packed(template.weights.data.reshape(nodes, -1), "f4"),
        "directions": {name: found[name].step.tolist() for name in SLIDERS},
    }


def _packed(array, dtype):
    """Numbers as JavaScript's typed arrays read them, little-endian, in base64."""
    return b64encode(np.ascontiguousarray(array, f"<{dtype}").tobytes()).decode()
