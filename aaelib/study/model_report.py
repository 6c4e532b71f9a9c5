"""Report on a model of any shapes: all metrics and figures, beside those of baselines."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from ..models import latent
from ..models.runs import load_with_card
from ..shapes import folders
from ..shapes.sockets import check_sockets, fit_surfaces
from ..shapes.sources import KINDS
from ..shapes.writing import replacing
from . import baselines, evaluation, figures, site, tables
from .baselines import DRAWN_PER_SOCKET, Known
from .selection import TRAINED_PER_SHAPE, select

NEAREST = "nearest training shape"


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
        return tables.with_spread(self.metrics).rename_axis(None)

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
        folder = Path(folder)
        # All are made before the first is put into its place.
        with ExitStack() as stack:
            page, errors, values = (
                stack.enter_context(replacing(folder / name))
                for name in ("index.html", "errors.csv", "metrics.json")
            )
            values.write_text(json.dumps(self._values(), indent=1), encoding="utf-8")
            self.errors.to_csv(errors)
            site.write_page(page, f"{self.about['model']}: evaluation", *self._page())
        return folder / "index.html"

    def _values(self):
        return self.about | {
            "metrics": _plain(self.metrics),
            "by_class": _plain(self.by_class),
            "memorising": self.memorising,
        }

    def _page(self):
        """Paragraphs, and sections (title, caption, table or figure)."""
        about = self.about
        paragraphs = [
            f"{about['which'][0].upper()}{about['which'][1:]}."
            + (f" Folder: {about['folder']}." if about["folder"] else ""),
            *about["notes"],
        ]
        sections = [
            ("Metrics", self._caption(), self.table),
            ("By class", "Mean errors of reconstruction.", tables.with_spread(self.by_class)),
        ]
        if self.memorising:
            caption = (
                "Chamfer distance to the nearest training shape: median of the samples and of the "
                "shapes that were not trained on, and their ratio, far below 1 for copies. "
                "share_nearer: share of the samples that are nearer than all but the nearest 5 % "
                "of those shapes; 0.05 is expected."
            )
            sections.append(("Is it memory?", caption, pd.DataFrame({"": self.memorising}).T))
        sections += [
            (name.capitalize(), self.captions[name], figure)
            for name, figure in self.figures.items()
        ]
        return paragraphs, sections

    def _caption(self):
        about = self.about
        better = {"lower": [], "higher": [], 0.5: []}
        for name in evaluation.METRICS.keys() & set(self.metrics.columns):
            better[evaluation.METRICS[name][1]].append(name)
        words = f"{', '.join(sorted(better['lower']))}: lower is better; coverage: higher"
        return (
            f"Reconstruction of {about['n']} shapes, each in its unit sphere; generation in "
            f"{len(about['seeds'])} draws of {DRAWN_PER_SOCKET * about['n']}. {words}; "
            "one_nn_accuracy: 0.5 is best. ± is the standard deviation over draws. "
            f"Source: {about['source']}."
        )


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
        How often samples of the prior are drawn, `baselines.DRAWN_PER_SOCKET` for each shape.
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
    which = found.which
    if earlier := card.get("weights_from"):
        which += f"; it started from the weights of {Path(earlier).name}, which may have seen them"
    if sockets is None:
        sockets = set(shapes.kinds) <= set(KINDS)
    chosen, trained = shapes[found.chosen], shapes[found.trained]
    if sockets:
        check_sockets(chosen.points, chosen.names if chosen.files is None else chosen.files)
    unseen = evaluation.Unseen(chosen, fit_surfaces(chosen.points) if sockets else None)
    seeds = range(seed, seed + draws)
    contenders, notes = _baselines(unseen, chosen.files, trained, found.n_trained, aae, seeds)
    reconstructed, samples = evaluation.of_model(aae, unseen, seeds)
    mine = reconstructed, list(samples)
    evaluated = evaluation.compare(unseen, [(name, mine), *contenders.items()])
    near = {}
    if len(trained) and found.is_new.any():
        of_samples = baselines.nearest_distances(mine[1][0], trained.points)
        of_new = evaluated[NEAREST][0]["chamfer"][found.is_new]
        near = {f"samples of {name}": of_samples, "shapes it was not trained on": of_new}
    pictures = _pictures(aae, name, chosen, unseen, mine, evaluated, near)
    about = {"model": name, "recipe": aae.recipe.name, "which": which}
    about |= {"folder": shapes.folder, "source": shapes.source, "trained_on": card.get("source")}
    about |= {"n": len(chosen), "n_trained": found.n_trained, "n_compared": len(trained)}
    about |= {"sockets": sockets, "seeds": list(seeds), "notes": notes}
    return Evaluation(
        metrics=tables.summary(evaluated, over="draws").dropna(axis=1, how="all"),
        by_class=tables.by_kind(chosen.kinds, evaluated).T.dropna(how="all"),
        errors=_errors(chosen, evaluated[name][0]),
        memorising=baselines.memorising(*near.values()) if near else {},
        figures={key: figure for key, (figure, _) in pictures.items()},
        captions={key: caption for key, (_, caption) in pictures.items()},
        about=about,
    )


def _errors(shapes, of_model):
    """A row a shape: its class, and how far off its reconstruction is."""
    errors = {"class": shapes.kinds}
    errors |= {metric: of_model[metric] for metric in ("chamfer", "surface_mm")}
    index = pd.Index(shapes.names, name="shape")
    return pd.DataFrame(errors, index).dropna(axis=1, how="all")


def _baselines(unseen, files, trained, n_trained, aae, seeds):
    """Contenders beside the model, as `evaluation.compare` takes them, and what is said of them."""
    contenders, notes = {}, []
    is_linear = unseen.surfaces is not None and len(trained)
    known = Known(trained, fit_surfaces(trained.points) if is_linear else None)
    if len(trained):
        contenders[NEAREST] = baselines.nearest_known(unseen, known, seeds)
        notes.append(
            f"'{NEAREST}' reconstructs with the nearest of {len(trained)} training shapes, and "
            "generates by drawing real ones: the mark to reach. One of these is its own nearest."
        )
        if len(trained) < n_trained:
            notes.append(
                f"To save time, these were drawn from {n_trained} training shapes, "
                f"{TRAINED_PER_SHAPE} for each shape that the limit allows: a copy of one of the "
                "others does not show."
            )
    else:
        notes.append("The model's training shapes are not in this folder, so none is a baseline.")
    counts = pd.Series(trained.kinds).value_counts().reindex(np.unique(unseen.kinds), fill_value=0)
    if unseen.surfaces is None:
        notes.append("Clouds do not say which points correspond: there is no linear shape model.")
    elif counts.min() >= 2:
        k = aae.recipe.code_size
        contenders[baselines.LINEAR] = baselines.linear(unseen, known, seeds, k)
        notes.append(f"'{baselines.LINEAR}': of these training shapes, one a class, k = {k}.")
    if sampled := _sampled_anew(unseen, files, seeds):
        contenders[baselines.FLOOR] = sampled
        notes.append(f"'{baselines.FLOOR}': the evaluated shapes' own surfaces, sampled anew.")
    return contenders, notes


def _sampled_anew(unseen, files, seeds):
    """The sampling floor; None where there are no surfaces to sample."""
    if unseen.surfaces is not None:
        return baselines.floor(unseen, seeds)
    if files is None or any(file.suffix.lower() == ".npy" for file in files):
        return None
    # The shapes themselves have the seed 0.
    n_points, times = unseen.points.shape[1], DRAWN_PER_SOCKET
    sampled = [
        folders.read_all(files, n_points, seed, title="sampling floor")
        for seed in range(1, 2 + times * len(seeds))
    ]
    parts = [sampled[1 + times * i : 1 + times * (i + 1)] for i in range(len(seeds))]
    return sampled[0], [np.concatenate(part) for part in parts]


def _pictures(aae, name, shapes, unseen, mine, evaluated, near):
    """Draw the figures: name -> (figure, caption)."""
    reconstructed, samples = mine[0], mine[1][0]
    of_model = evaluated[name][0]
    metric = "chamfer" if unseen.surfaces is None else "surface_mm"
    order = np.argsort(of_model[metric])
    some = order[np.linspace(0, len(order) - 1, min(5, len(order))).round().astype(int)]
    worst = order[::-1][:2]
    what = (
        "coloured by distance to each other; Chamfer distance (unit sphere) below each"
        if unseen.surfaces is None
        else "coloured by distance to the socket's surface, mm; mean error below each"
    )
    ends = list(np.unravel_index(unseen.within.argmax(), unseen.within.shape))
    between = aae.decode(latent.interpolate(*aae.encode(shapes.points[ends]), 5))
    first, last = (Path(end).name for end in shapes.names[ends])
    pictures = {
        "comparison": (
            _bars(evaluated, name),
            "The table as bars; error bars are standard deviations over draws.",
        ),
        "reconstructions": (
            _beside(unseen, shapes, reconstructed, some, of_model[metric]),
            f"Shapes (top) from the best to the worst reconstructed, and reconstructions, {what}.",
        ),
        "errors": (
            _distribution(
                {row: runs[0]["chamfer"] for row, runs in evaluated.items()},
                "Chamfer distance of the reconstruction (unit sphere)",
            ),
            "The share of shapes that are reconstructed within each distance.",
        ),
        "worst": (
            _beside(unseen, shapes, reconstructed, worst, of_model[metric]),
            f"The worst cases (top) and their reconstructions, {what}.",
        ),
        "interpolation": (
            figures.interpolation(between, [first, "25 %", "50 %", "75 %", last]),
            "From one shape's code to another's, of the two that are farthest apart.",
        ),
    }
    if near:
        pictures["memory"] = (
            _distribution(near, "Chamfer distance to the nearest training shape (unit sphere)"),
            "How near to a training shape samples are, and shapes that were not trained on. Copies "
            "rise at 0.",
        )
    sized = aae.recipe.normalization == "dataset"
    unit = "in the unit of the folder's files" if sized else "without a size: in the unit sphere"
    pictures["samples"] = (
        figures.cloud_gallery(samples[:10]),
        f"The first samples of the prior, {unit}.",
    )
    return pictures


def _bars(evaluated, name):
    """The metrics of a model and its baselines as bars."""
    spread = tables.summary(evaluated, over="draws")
    shown = {
        key: title for key, (title, _) in evaluation.METRICS.items() if spread[key].notna().any()
    }
    return figures.bars_with_baselines(
        spread,
        shown,
        spread[[f"{key}_sd" for key in shown]].rename(columns=lambda c: c[:-3]),
        [row for row in spread.index if row != name],
        {key: way for key, (_, way) in evaluation.METRICS.items()},
    )


def _beside(unseen, shapes, reconstructed, index, errors):
    """A gallery of shapes with their reconstructions below them, coloured by error."""
    originals, theirs = shapes.points[index], reconstructed[index]
    if unseen.surfaces is None:
        colors = [*map(_distances, originals, theirs), *map(_distances, theirs, originals)]
        labels, unit = [f"{errors[i]:.2g}" for i in index], "distance"
    else:
        colors = [*unseen.point_errors(originals, index), *unseen.point_errors(theirs, index)]
        labels, unit = [f"{errors[i]:.1f} mm" for i in index], "mm"
    return figures.cloud_gallery(
        [*originals, *theirs],
        [*(Path(shape).name for shape in shapes.names[index]), *labels],
        len(index),
        colors,
        colorbar_title=unit,
        # A few points are much farther off than the rest: they may saturate.
        color_range=(0, float(np.percentile(np.concatenate(colors), 99))),
    )


def _distances(cloud, other):
    return cKDTree(other).query(cloud)[0]


def _distribution(values, label):
    figure = figures.nearest_histogram(values)
    figure.update_xaxes(title_text=label)
    return figure.update_yaxes(title_text="share of shapes")


def _plain(frame):
    """A table as dicts by row; what is missing is None, which JSON can say."""
    return json.loads(frame.to_json(orient="index", double_precision=12))
