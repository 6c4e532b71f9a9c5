"""Report on a model of any shapes: all metrics and figures, beside those of baselines."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from plotly.offline import get_plotlyjs
from scipy.spatial import cKDTree

from ..models import latent
from ..models.runs import load_with_card
from ..shapes import folders
from ..shapes.sockets import check_sockets, fit_surfaces
from ..shapes.sources import KINDS
from ..shapes.writing import locked, without_formulas, write_whole
from . import baselines, evaluation, figures, tables
from .baselines import Known
from .selection import TRAINED_PER_SHAPE, select
from .spread import with_spread
from .templating import render

NEAREST = "nearest training shape"

_CAPTIONS = {
    "comparison": "The table as bars; error bars are standard deviations over draws.",
    "errors": "The share of shapes that are reconstructed within each distance.",
    "memory": "How near to a training shape samples are, and shapes that were not trained on. "
    "Copies rise at 0.",
    "reconstructions": "Shapes (top) from the best to the worst reconstructed, and "
    "reconstructions, {what}.",
    "worst": "The worst cases (top) and their reconstructions, {what}.",
    "interpolation": "From one shape's code to another's, of the two that are farthest apart.",
    "samples": "The first samples of the prior, {unit}.",
}


@dataclass(frozen=True)
class Evaluation:
    """
    Metrics and figures of a model on shapes, beside those of baselines.

    Attributes
    ----------
    metrics : pandas.DataFrame
        A row for the model and each baseline; columns as in `evaluation.METRICS`, each with its
        standard deviation over draws (`..._sd`) where it has one. Chamfer distance, fidelity and
        JSD are in unit spheres.
    by_class : pandas.DataFrame
        Mean errors of reconstruction of each class, a column for each of these rows.
    errors : pandas.DataFrame
        A row for each shape: "class", and errors of the model's reconstruction: "chamfer", and
        "surface_mm" where the shapes are sockets.
    memorising : dict
        What `baselines.memorising` gives; empty where the training shapes are not known.
    figures, captions : dict
        Name -> plotly figure; name -> what it shows.
    about : dict
        Model, folder, source, how many shapes and which, seeds of the draws.
    """

    metrics: pd.DataFrame
    by_class: pd.DataFrame
    errors: pd.DataFrame
    memorising: dict
    figures: dict
    captions: dict
    about: dict

    @property
    def table(self):
        """The metrics to read: "mean ± standard deviation over draws"."""
        return with_spread(self.metrics).rename_axis(None)

    def write(self, folder):
        """
        Write `metrics.json`, `errors.csv` and `index.html`, one page that needs no network.

        Parameters
        ----------
        folder : str or Path
            Made where missing; what it holds from before under these names is replaced.

        Returns
        -------
        Path
            The page.
        """
        shown = {"by_class": with_spread(self.by_class)}
        shown["memory"] = pd.DataFrame(self.memorising, [""])
        shown["figures"] = {
            name: render("figure.html.j2", figure=each.to_json())
            for name, each in self.figures.items()
        }
        about = {"baselines": baselines, "nearest": NEAREST, "per_shape": TRAINED_PER_SHAPE}
        page = render("evaluation.html.j2", found=self, plotly=get_plotlyjs(), **about, **shown)
        numbers = self.about | {"memorising": self.memorising}
        for name in ("metrics", "by_class"):
            # What is missing is None, which JSON can say.
            plain = getattr(self, name).to_json(orient="index", double_precision=12)
            numbers[name] = json.loads(plain)
        texts = {
            "metrics.json": json.dumps(numbers, indent=1),
            "errors.csv": without_formulas(self.errors).to_csv(),
            "index.html": page,
        }
        with locked(Path(folder) / "index.html"):  # all three are of one evaluation
            for name, text in texts.items():
                # The model's path may be no UTF-8.
                write_whole(Path(folder) / name, text.encode(errors="backslashreplace"))
        return Path(folder) / "index.html"

    def draw(self, folder):
        """
        Write the figures into `pictures`, such as `reconstructions.png`, and return their paths.

        It takes Chrome or Chromium: where neither is found, a warning is given and nothing written.
        """
        drawn = []
        for name, each in self.figures.items():
            if picture := figures.to_png(each):
                drawn.append(Path(folder, "pictures", f"{name}.png"))
                write_whole(drawn[-1], picture)
        return drawn


def evaluate(model, shapes, draws=3, seed=1000, everything=False, sockets=None, limit=200):
    """
    Compute every metric and figure of a model on shapes, with baselines beside it.

    Parameters
    ----------
    model : str, Path, Run or AdversarialAutoencoder
        A `.keras` or `.npz` file, "sockets" or "pretrained", or what `train` gave.
    shapes : aaelib.shapes.Shapes
        With as many points as the model's recipe has, in the unit of its training shapes.
    draws : int
        How often samples of the prior are drawn, `Unseen.drawn` for each shape.
    seed : int
        Of the first draw; the next ones have the next. By default other draws than those by which
        epochs are selected.
    everything : bool
        Evaluate on shapes that the model was trained on, or selected by, as well. A shape of
        another folder than that which the model was trained on is taken for one of these where it
        has the points of one or its name (path in the folder): it may be the same, resampled.
    sockets : bool, optional
        Whether the shapes are sockets in mm, z up, with errors in mm on their surfaces; by default
        if all classes are "TT" or "TF".
    limit : int
        At most that many shapes, classes in proportion, drawn by `seed`, and for the baselines
        `selection.TRAINED_PER_SHAPE` times as many training shapes: time grows with its square.

    Returns
    -------
    Evaluation

    Raises
    ------
    FileNotFoundError
        If there is no such model.
    ValueError
        If fewer than two shapes are there to evaluate.
    """
    for name, value in {"draws": draws, "limit": limit}.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more")
    aae, card, name = load_with_card(model)
    found = select(card, shapes, everything, limit, seed)
    if sockets is None:
        sockets = set(shapes.kinds) <= set(KINDS)
    chosen, trained = shapes[found.chosen], shapes[found.trained]
    if sockets:
        check_sockets(chosen.points, chosen.names if chosen.files is None else chosen.files)
    unseen = evaluation.Unseen(chosen, fit_surfaces(chosen.points) if sockets else None)
    seeds, code_size = list(range(seed, seed + draws)), aae.recipe.code_size
    mine = evaluation.measure(aae, unseen, seeds)
    contenders = _baselines(unseen, chosen, trained, code_size, seeds)
    others = {each: unseen.evaluate(*contender) for each, contender in contenders.items()}
    evaluated = {each: [result] for each, result in ({name: mine} | others).items()}
    near = {}
    if len(trained) and found.is_new.any():
        of_samples = baselines.nearest_distances(mine["samples"], trained.points)
        of_new = others[NEAREST]["chamfer"][found.is_new]
        near = {f"samples of {name}": of_samples, "shapes it was not trained on": of_new}
    metrics = tables.summary(evaluated, of_draws=True).dropna(axis=1, how="all")
    errors = {"class": chosen.kinds, "chamfer": mine["chamfer"], "surface_mm": mine["surface_mm"]}
    about = {"model": name, "recipe": aae.recipe.name, "code_size": code_size}
    about |= {"which": found.which, "n": len(chosen), "drawn": unseen.drawn}
    about |= {"n_trained": found.n_trained, "n_compared": len(trained), "folder": shapes.folder}
    about |= {"source": shapes.source, "trained_on": card.get("source")}
    about |= {"sockets": sockets, "seeds": seeds}
    return Evaluation(
        metrics=metrics,
        by_class=tables.by_kind([chosen.kinds], evaluated).T.dropna(how="all"),
        errors=pd.DataFrame(errors, pd.Index(chosen.names, name="shape")).dropna(axis=1, how="all"),
        memorising=baselines.memorising(*near.values()) if near else {},
        figures=_figures(aae, chosen, unseen, evaluated, metrics, near),
        captions=_captions(aae, unseen),
        about=about,
    )


def _baselines(unseen, shapes, trained, code_size, seeds):
    """The baselines that the shapes and the training shapes allow: name -> contender."""
    contenders, is_of_sockets, files = {}, unseen.surfaces is not None, shapes.files
    if len(trained):
        known = Known(trained, fit_surfaces(trained.points) if is_of_sockets else None)
        contenders[NEAREST] = baselines.nearest_known(unseen, known, seeds)
        counts = Counter(trained.kinds)
        if is_of_sockets and min(counts[kind] for kind in unseen.kinds) >= 2:
            contenders[baselines.LINEAR] = baselines.linear(unseen, known, seeds, code_size)
    if is_of_sockets:
        contenders[baselines.FLOOR] = baselines.floor(unseen, seeds)
    elif files is not None and all(file.suffix.lower() != ".npy" for file in files):
        contenders[baselines.FLOOR] = _sampled_anew(shapes, unseen, seeds)
    return contenders


def _sampled_anew(shapes, unseen, seeds):
    """Contender: other points on the same meshes."""
    # The shapes themselves have the seed 0.
    shape, files = unseen.points.shape, shapes.files
    first, *others = (
        folders.placed(
            folders.read_all(files, shape[1], seed, title="sampling floor"),
            files,
            shapes.up,
            shapes.unit,
        )
        for seed in range(1, 2 + unseen.drawn * len(seeds))
    )
    return first, np.reshape(others, (len(seeds), -1, *shape[1:]))


def _figures(aae, shapes, unseen, evaluated, metrics, near):
    """Name -> figure: charts, then shapes of the model, which comes first in `evaluated`."""
    errors = {row: runs[0]["chamfer"] for row, runs in evaluated.items()}
    label = "Chamfer distance {} (unit sphere)"
    charts = {
        "comparison": figures.bars_with_baselines(metrics, evaluation.METRICS, metrics.index[1:]),
        "errors": figures.nearest_histogram(errors, label.format("of the reconstruction")),
    }
    if near:
        nearest = label.format("to the nearest training shape")
        charts["memory"] = figures.nearest_histogram(near, nearest)
    [mine], *_ = evaluated.values()
    order = np.argsort(mine["chamfer" if unseen.surfaces is None else "surface_mm"])
    some = order[np.linspace(0, len(order) - 1, min(5, len(order))).round().astype(int)]
    ends = list(np.unravel_index(unseen.within.argmax(), unseen.within.shape))
    between = aae.decode(latent.interpolate(*mine["codes"][ends], 5))
    first, last = (Path(end).name for end in shapes.names[ends])
    return charts | {
        "reconstructions": _beside(unseen, shapes, mine, some),
        "worst": _beside(unseen, shapes, mine, order[::-1][:2]),
        "interpolation": figures.cloud_gallery(between, [first, "25 %", "50 %", "75 %", last]),
        "samples": figures.cloud_gallery(mine["samples"][:25]),
    }


def _captions(aae, unseen):
    """Name -> what the figure shows."""
    what = "coloured by distance to each other; Chamfer distance (unit sphere) below each"
    if unseen.surfaces is not None:
        what = "coloured by distance to the socket's surface, mm; mean error below each"
    unit = "without a size: in the unit sphere"
    if aae.recipe.normalization == "dataset":
        unit = "in the unit of the folder's files"
    return {name: text.format(what=what, unit=unit) for name, text in _CAPTIONS.items()}


def _beside(unseen, shapes, mine, index):
    """A gallery of shapes with their reconstructions below them, coloured by error."""
    originals, theirs = shapes.points[index], mine["reconstruction"][index]
    clouds = [*originals, *theirs]
    if unseen.surfaces is None:
        pairs = zip(clouds, [*theirs, *originals], strict=True)
        colors = [cKDTree(other).query(cloud)[0] for cloud, other in pairs]
        labels, unit = [f"{mine['chamfer'][i]:.2g}" for i in index], "distance"
    else:
        colors = unseen.point_errors(clouds, [*index, *index])
        labels, unit = [f"{mine['surface_mm'][i]:.1f} mm" for i in index], "mm"
    titles = [*(Path(shape).name for shape in shapes.names[index]), *labels]
    # A few points are much farther off than the rest: they may saturate.
    limit = float(np.percentile(np.concatenate(colors), 99))
    return figures.cloud_gallery(clouds, titles, len(index), colors, unit, (0, limit))
