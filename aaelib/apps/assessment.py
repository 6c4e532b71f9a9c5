"""A single-blind test: experts, and two machines, tell real from generated sockets."""

import hashlib
import re
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.stats import binomtest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score
from sklearn.model_selection import StratifiedKFold, permutation_test_score
from sklearn.preprocessing import StandardScaler
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from ..metrics import pairwise_chamfer
from ..metrics.generative import one_nearest_neighbor_accuracy_of
from ..shapes.clouds import normalize
from ..shapes.sockets import SocketSurface
from ..study import figures
from ..study.templating import render
from .messages import reporting

ANSWERS = ("real", "generated")
SCORES = (1, 2, 3, 4, 5)  # of plausibility
POOLED = "all assessors"  # with a blank: no assessor can have that id

_SMOOTHING = 0.1  # a decoded cloud is a little rough; real ones are smoothed as much
_ALPHA = 0.05  # a difference from guessing is one with a smaller p
_N_POINTS = 1024  # of a surface, for the nearest other socket
_N_PERMUTATIONS = 199  # of the labels, for the machines' p


# The set --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BlindSet:
    """
    Real and generated sockets in the order in which they are shown.

    Attributes
    ----------
    surfaces : tuple of SocketSurface
        Items are numbered from 1: item i is entry i - 1.
    is_generated : numpy.ndarray
        (n,) bool, the truth.
    seed : int
        Of the draw and the order.
    fingerprint : str
        Of the real sockets and the model: the same on any machine.
    """

    surfaces: tuple
    is_generated: np.ndarray
    seed: int
    fingerprint: str

    def __len__(self):
        return len(self.surfaces)


def draw_set(points, aae, n, seed=0):
    """
    Draw a set to assess: as many real as generated sockets, in random order.

    All are processed alike, a surface fitted to as many points and thinned to the same grid, so
    that neither density nor smoothness tells which are real.

    Parameters
    ----------
    points : (m, n_points, 3) array
        Real sockets that the model has not seen, mm.
    aae : AdversarialAutoencoder
        Draws of its prior are decoded. If it was trained on shapes in the unit sphere, the real
        sockets are put there as well: its samples have no size.
    n : int
        Number of real and of generated sockets, 2 to m.
    seed : int
        Of the choice of real sockets, of the codes, and of the order.

    Returns
    -------
    BlindSet
        Of 2 n sockets.

    Raises
    ------
    ValueError
        If `n` is out of range, or no surface can be fitted to a cloud
        (`SocketSurface.from_points`).
    """
    points = np.asarray(points, np.float32)
    if not 2 <= n <= len(points):
        raise ValueError(f"n is {n}; with {len(points)} real sockets it can be 2 to {len(points)}")
    real = points[np.random.default_rng([seed, 0]).choice(len(points), n, replace=False)]
    codes = aae.draw_prior(n, seed)
    generated = aae.decode(codes)
    # As many points of each: a surface of fewer is smoother, and would tell what a socket is.
    n_points = min(real.shape[1], generated.shape[1])
    clouds = np.concatenate([_thinned(each, n_points, seed) for each in (real, generated)])
    if aae.recipe.normalization == "unit-sphere":
        clouds = normalize(clouds, "unit-sphere")[0]
    order = np.random.default_rng([seed, 1]).permutation(2 * n)
    # Not of decoded clouds: these differ in their last bits from machine to machine.
    known = (real, codes, *aae.decoder.get_weights())
    digest = hashlib.sha256(b"".join(array.tobytes() for array in known))
    return BlindSet(
        tuple(SocketSurface.from_points(clouds[i], smoothing=_SMOOTHING).coarse() for i in order),
        order >= n,
        seed,
        digest.hexdigest()[:12],
    )


def _thinned(clouds, n_points, seed):
    """Random points, equally many, of each cloud (n, more_points, 3)."""
    if clouds.shape[1] == n_points:
        return clouds
    return clouds[:, np.random.default_rng([seed, 2]).permutation(clouds.shape[1])[:n_points]]


# Answers --------------------------------------------------------------------------------------

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS answers (
    seed INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    assessor TEXT NOT NULL,
    item INTEGER NOT NULL CHECK (item >= 1),
    answer TEXT NOT NULL CHECK (answer IN {ANSWERS}),
    plausibility INTEGER NOT NULL CHECK (plausibility IN {SCORES}),
    time TEXT NOT NULL,
    PRIMARY KEY (seed, fingerprint, assessor, item)
)
"""


@contextmanager
def _opened(path):
    """Connection to a file of answers; what is written is kept when the block ends well."""
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(_SCHEMA)
            yield connection
    except sqlite3.Error as error:
        advice = "choose another file, or see that you may write there"
        raise ValueError(f"{path}: {error}; answers are kept in SQLite: {advice}") from error


def check_assessor(assessor):
    """Raise if an assessor's id is invalid."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", assessor):
        allowed = "1 to 40 letters (a to z), digits, - or _, and no name by which others know you"
        raise ValueError(f"assessor id {assessor!r}: give {allowed}")


def read_answers(path, blind):
    """
    Read what assessors have answered to a set so far, from a file that need not be there yet.

    Returns a frame with a row per answer, in the order of time: "assessor", "item" (from 1),
    "answer" (one of `ANSWERS`), "plausibility" (one of `SCORES`), "time" (UTC, ISO 8601). Raises
    ValueError if the file holds no answers.
    """
    query = (
        "SELECT assessor, item, answer, plausibility, time FROM answers "
        "WHERE seed = ? AND fingerprint = ? ORDER BY rowid"
    )
    types = {"item": int, "plausibility": int}  # which no answers would leave open
    blind_set = (blind.seed, blind.fingerprint)
    with _opened(path if Path(path).exists() else ":memory:") as connection:
        return pd.read_sql_query(query, connection, params=blind_set, dtype=types)


def record(path, blind, assessor, item, answer, plausibility):
    """
    Add one answer (values as in `read_answers`) to an SQLite file, which is made when missing.

    An item that the assessor has answered is not recorded again, in whatever window. Raises
    ValueError if a value is invalid or the file holds no answers.
    """
    check_assessor(assessor)
    time = datetime.now(UTC).isoformat(timespec="seconds")
    row = (blind.seed, blind.fingerprint, assessor, item, answer, plausibility, time)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    insert = "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    with _opened(path) as connection:
        try:
            connection.execute(insert, row)
        except sqlite3.IntegrityError as error:
            raise ValueError(f"{row} is no answer: {error}") from error


# The widget -----------------------------------------------------------------------------------


def widget(blind, path):
    """
    Show a set socket by socket, ask which it is, and record each answer in a file.

    The assessor gives an id first. One that is in the file goes on at the first item that it has
    not answered. Nothing of the truth is in the widget. Raises ValueError if the file holds no
    answers.

    Returns a VBox. Its children are first an HTML with the instructions, a Text for the id, a
    Button "start" and an HTML for messages; then that last one, an IntProgress, a plotly
    FigureWidget, the ToggleButtons of the answer and of the plausibility, and a Button "next"; at
    the end the HTML alone.
    """
    read_answers(path, blind)
    assessor = widgets.Text(description="your id", placeholder="letters, digits, - and _")
    start = widgets.Button(description="start", button_style="primary")
    message = widgets.HTML()
    progress = widgets.IntProgress(max=len(blind), layout={"width": "70%"})
    meshes = [surface.mesh() for surface in blind.surfaces]
    for mesh in meshes:  # decoded sockets are around the origin, scans are not
        mesh.vertices -= mesh.bounds.mean(axis=0)
    # The scene is as large as all items together need, so that it is the same for each.
    union = np.concatenate([mesh.vertices for mesh in meshes]), meshes[0].faces
    socket = go.FigureWidget(figures.mesh_gallery([union], columns=1))
    answer = widgets.ToggleButtons(options=ANSWERS, value=None, description="It is")
    score = widgets.ToggleButtons(options=SCORES, value=None, description="plausible")
    following = widgets.Button(description="next", button_style="primary", disabled=True)
    box = widgets.VBox([widgets.HTML(render("assessment.html.j2")), assessor, start, message])
    item = None

    def show_first_unanswered():
        nonlocal item
        answers = read_answers(path, blind)
        answered = set(answers.loc[answers["assessor"] == assessor.value, "item"])
        item = next((i for i in range(1, len(blind) + 1) if i not in answered), None)
        if item is None:
            box.children = [message]
            return f"All {len(blind)} sockets are answered. Thank you."
        progress.value = len(answered)
        answer.value = score.value = None
        with socket.batch_update():
            socket.data[0].x, socket.data[0].y, socket.data[0].z = meshes[item - 1].vertices.T
        box.children = [message, progress, socket, answer, score, following]
        return f"Socket {item} of {len(blind)}"

    def on_start(_):
        check_assessor(assessor.value)
        return show_first_unanswered()

    def on_next(_):
        record(path, blind, assessor.value, item, answer.value, score.value)
        return show_first_unanswered()

    def on_choice(_):
        following.disabled = None in (answer.value, score.value)

    start.on_click(reporting(on_start, message))
    following.on_click(reporting(on_next, message))
    for choice in (answer, score):
        choice.observe(on_choice, names="value")
    return box


# Analysis -------------------------------------------------------------------------------------


def judge(answers, blind):
    """Add the columns "truth" (one of `ANSWERS`) and "is_right" to answers as read."""
    truth = np.array(ANSWERS)[blind.is_generated[answers["item"].to_numpy() - 1].astype(int)]
    return answers.assign(truth=truth, is_right=answers["answer"] == truth)


def accuracy(right, n):
    """
    Share of right answers, its interval and a test against guessing.

    Returns a dict: "accuracy" in [0, 1]; "low" and "high", ends of its 95 % score interval (Wilson
    1927); "p" of the two-sided exact binomial test against 0.5; "n".
    """
    test = binomtest(right, n)
    interval = test.proportion_ci(method="wilson")._asdict()
    return {"accuracy": test.statistic, **interval, "p": test.pvalue, "n": n}


def agreement(answers):
    """
    Agreement of assessors beyond chance, over the items that all have answered.

    Cohen's (1960) kappa for two assessors, Fleiss' (1971) for more: 1 for equal answers, 0 for
    chance. NaN with fewer than two assessors, without such items, and if all answers are the same.
    """
    by_item = answers.pivot(index="item", columns="assessor", values="answer").dropna()
    if by_item.shape[1] < 2 or len(np.unique(by_item.to_numpy().astype(str))) < 2:
        return np.nan
    if by_item.shape[1] == 2:
        return float(cohen_kappa_score(*by_item.to_numpy().T))
    return float(fleiss_kappa(aggregate_raters(by_item)[0]))


def plausibility(judged):
    """
    Tabulate how plausible assessors find real and generated sockets, whatever they took them for.

    A row for each of `ANSWERS` that has scores: "mean" and "sd" (n - 1; NaN for one) of the scores,
    "n".
    """
    scores = judged.groupby("truth")["plausibility"].agg(["mean", "std", "count"])
    scores = scores.rename(columns={"std": "sd", "count": "n"}).rename_axis("socket")
    return scores.reindex([each for each in ANSWERS if each in scores.index])


# The machine's counterpart --------------------------------------------------------------------


def machine_counterpart(blind):
    """
    Test how well two machines tell the sockets of a set apart, by the surfaces that experts see.

    - 1-NN: by the nearest of the other sockets, in Chamfer distance of evenly spread points in the
      unit sphere (`metrics.one_nearest_neighbor_accuracy`).
    - classifier: a classifier two-sample test (Lopez-Paz and Oquab 2017), the 5-fold
      cross-validated accuracy of a logistic regression on `features` and their squares.

    Unlike an expert, the machines are told which of the other sockets are real.

    Parameters
    ----------
    blind : BlindSet

    Returns
    -------
    pandas.DataFrame
        Rows "machine: 1-NN" and "machine: classifier", columns as in `accuracies`. "p" is the share
        of permutations of the labels, the given labels among them, whose accuracy is as far from
        the permutations' mean; "kappa" is NaN. The interval is a little too short: it takes
        decisions for independent, which they are not quite.
    """
    tests = {"machine: 1-NN": _nearest_neighbor_test, "machine: classifier": _classifier_test}
    rows = {}
    for name, test in tests.items():
        found, permuted = test(blind)
        far = np.abs(permuted - permuted.mean()) >= abs(found - permuted.mean()) - 1e-9
        rows[name] = accuracy(round(found * len(blind)), len(blind))
        rows[name] |= {"accuracy": found, "p": (1 + far.sum()) / (1 + _N_PERMUTATIONS)}
    return pd.DataFrame(rows).T.assign(kappa=np.nan).rename_axis("judge")


def features(surfaces):
    """
    Standardised numbers (n_surfaces, n_features) by which sockets may be told apart.

    The lengths, area, volume and perimeters of `SocketSurface.measure`; the roughness, as the mean
    angle between neighbouring triangles; up to 10 principal components of the surface grid.
    """
    measures = pd.DataFrame([surface.measure() for surface in surfaces]).select_dtypes("number")
    roughness = [np.mean(surface.mesh().face_adjacency_angles) for surface in surfaces]
    grids = np.stack([(s.vertices - s.vertices.mean(axis=(0, 1))).ravel() for s in surfaces])
    components = PCA(min(10, len(grids) - 1), svd_solver="full").fit_transform(grids)
    return StandardScaler().fit_transform(np.column_stack([measures, roughness, components]))


def _nearest_neighbor_test(blind):
    """Accuracy, and the accuracies (n_permutations,) of permuted labels."""
    clouds = np.stack([surface.sample(_N_POINTS) for surface in blind.surfaces])
    distances = pairwise_chamfer(normalize(clouds, "unit-sphere")[0])

    def score(labels):
        a, b = np.flatnonzero(labels), np.flatnonzero(~labels)
        return one_nearest_neighbor_accuracy_of(
            *(distances[np.ix_(*pair)] for pair in ((a, a), (a, b), (b, b)))
        )

    rng = np.random.default_rng(0)
    permuted = [score(rng.permutation(blind.is_generated)) for _ in range(_N_PERMUTATIONS)]
    return score(blind.is_generated), np.array(permuted)


def _classifier_test(blind):
    """Accuracy, and the accuracies (n_permutations,) of permuted labels."""
    # Features are found without the labels, so they favour neither given nor permuted ones.
    values = features(blind.surfaces)
    # Squares, since samples that vary too little have the right means.
    values, truth = np.column_stack([values, values**2]), blind.is_generated
    model = LogisticRegression(C=0.1, max_iter=1000)
    folds = StratifiedKFold(min(5, np.bincount(truth).min()), shuffle=True, random_state=0)
    options = {"cv": folds, "n_permutations": _N_PERMUTATIONS, "random_state": 0}
    return permutation_test_score(model, values, truth, **options)[:2]


# In words -------------------------------------------------------------------------------------


def results(answers, blind, machine):
    """
    Table T5: how well each assessor, all together (`POOLED`) and machines tell sockets apart.

    Columns as in `accuracy`, and "kappa": `agreement` in the row of all, NaN elsewhere. Without
    answers only `machine_counterpart`'s rows are there. The pooled interval and p are too sure:
    they take answers for independent, and several answers to one socket are not.
    """
    is_right = judge(answers, blind)["is_right"]
    groups = dict([*is_right.groupby(answers["assessor"])])
    if groups:
        groups[POOLED] = is_right
    rows = {name: accuracy(int(right.sum()), len(right)) for name, right in groups.items()}
    table = pd.concat([pd.DataFrame(rows).T, machine]) if rows else machine.copy()
    table.loc[table.index == POOLED, "kappa"] = agreement(answers)
    return table.astype({"n": int}).rename_axis("judge")


def detectable(n):
    """
    Lowest accuracy of n answers that the two-sided exact binomial test tells from guessing.

    In (0.5, 1]; NaN if even n right answers are too few.
    """
    enough = (k / n for k in range(n // 2, n + 1) if binomtest(k, n).pvalue < _ALPHA)
    return next(enough, np.nan)


def verdict(row):
    """Words for a row of `results`, such as "told apart (accuracy 0.70, ..., p = 0.002)"."""
    what = "no difference from guessing was found"
    if row["p"] < _ALPHA:
        what = "told apart" if row["accuracy"] > 0.5 else "wrong more often than guessing is"
    p = "p < 0.001" if row["p"] < 0.001 else f"p = {row['p']:.2g}"
    interval = f"interval {row['low']:.2f} to {row['high']:.2f}"
    return f"{what} (accuracy {row['accuracy']:.2f}, {interval}, {p})"
