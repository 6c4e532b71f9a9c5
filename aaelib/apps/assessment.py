"""A single-blind test of samples: which sockets are real, by experts and by two machines."""

import hashlib
import html
import io
import os
import re
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

from ..metrics.distances import pairwise_chamfer
from ..metrics.generative import one_nearest_neighbor_accuracy_of
from ..shapes.clouds import normalize
from ..shapes.sockets import SocketSurface
from ..study import figures

ANSWERS = ("real", "generated")
SCORES = (1, 2, 3, 4, 5)  # of plausibility
COLUMNS = ("seed", "fingerprint", "assessor", "item", "answer", "plausibility", "time")
POOLED = "all assessors"  # with a blank: no assessor can have that id

SMOOTHING = 0.1  # a decoded cloud is a little rough; real ones are smoothed as much

_HEADER = ",".join(COLUMNS) + "\n"
_INSTRUCTIONS = (
    "Sockets are shown one by one, some real and some generated, all as smoothed surfaces at one "
    "scale. Drag to turn, scroll to zoom. Say for each which it is, and how plausible as a socket: "
    "1 impossible to 5 perfectly plausible. An answer is saved with <i>next</i> and stays; you can "
    "stop at any time and go on later under the same id."
)


# The set --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BlindSet:
    """
    Real and generated sockets in the order in which they are shown.

    Attributes
    ----------
    surfaces : tuple of SocketSurface
        Item i is entry i - 1: items are numbered from 1.
    is_generated : (n,) bool array
        The truth.
    seed : int
        Of the draw and the order.
    fingerprint : str
        Of what was drawn from: the same for the same sockets and the same model, on any machine.
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

    All go through the same: a surface is fitted and thinned to the same grid, so that neither the
    density of points nor smoothness that comes from processing gives anything away.

    Parameters
    ----------
    points : (m, n_points, 3) array
        Real sockets that the model has not seen, mm.
    aae : AdversarialAutoencoder
        Draws of its prior are decoded. If it was trained on shapes in the unit sphere, the real
        sockets are put there as well: its samples have no size.
    n : int
        Sockets of each, 2 to m.
    seed : int
        Of which real sockets, which codes, and the order; the order depends on nothing else but n.

    Returns
    -------
    BlindSet
        Of 2 n sockets.

    Raises
    ------
    ValueError
        If `n` is out of range, or a cloud is none of a socket (`SocketSurface.from_points`).
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
    return BlindSet(
        tuple(SocketSurface.from_points(clouds[i], smoothing=SMOOTHING).coarse() for i in order),
        order >= n,
        seed,
        # Of what goes in: what a decoder gives differs in its last bits from machine to machine.
        _fingerprint(real, codes, *aae.decoder.get_weights()),
    )


def _thinned(clouds, n_points, seed):
    """As many random points of each cloud (n, more_points, 3)."""
    if clouds.shape[1] == n_points:
        return clouds
    return clouds[:, np.random.default_rng([seed, 2]).permutation(clouds.shape[1])[:n_points]]


def _fingerprint(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


# Answers --------------------------------------------------------------------------------------


def check_assessor(assessor):
    """
    Refuse an id that is none.

    Parameters
    ----------
    assessor : str
        ASCII letters, digits, - and _; up to 40.

    Returns
    -------
    str
        The id.

    Raises
    ------
    ValueError
        If it is empty or has anything else in it.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", assessor):
        raise ValueError(
            f"assessor id {assessor!r}: give 1 to 40 letters (a to z), digits, - or _, and no name "
            "by which others know you"
        )
    return assessor


def read_answers(path, blind):
    """
    What assessors have answered so far.

    A last line without its end was being written when a process was killed: it is left out, and the
    item is asked again. Of two answers of one assessor to one item the first counts.

    Parameters
    ----------
    path : str or Path
        A CSV file that `record` writes; it need not be there yet.
    blind : BlindSet
        What was assessed.

    Returns
    -------
    pandas.DataFrame
        A row an answer, in the order of time: "assessor", "item" (from 1), "answer" (one of
        `ANSWERS`), "plausibility" (one of `SCORES`), "time" (UTC, ISO 8601).

    Raises
    ------
    ValueError
        If the file is of another set or none of answers.
    """
    path = Path(path)
    whole = _whole_lines(path).decode("utf-8", errors="replace") or _HEADER
    if whole.splitlines()[0] != _HEADER.strip():
        raise ValueError(
            f"{path} starts with {whole.splitlines()[0][:80]!r}, not with {_HEADER.strip()!r}: it "
            "holds no answers; choose another file"
        )
    text = {"fingerprint": str, "assessor": str, "answer": str, "time": str}
    try:
        answers = pd.read_csv(io.StringIO(whole), dtype=text, keep_default_na=False)
    except pd.errors.ParserError as error:
        raise ValueError(f"{path} has a line that is no answer: {error}") from None
    _check_set(path, answers, blind)
    _check_values(path, answers, len(blind))
    # Of a file without answers columns have no type yet.
    answers = answers.astype({"item": int, "plausibility": int})
    answers = answers.drop_duplicates(["assessor", "item"], ignore_index=True)
    return answers.drop(columns=["seed", "fingerprint"])


def record(path, blind, assessor, item, answer, plausibility):
    """
    Add one answer at the end of a file, which is made when missing.

    Lines that are there are never touched, but for a last one that was not written to its end. An
    item that the assessor has answered is not recorded again.

    Parameters
    ----------
    path : str or Path
    blind : BlindSet
    assessor : str
        See `check_assessor`.
    item : int
        From 1.
    answer : {"real", "generated"}
    plausibility : int
        1 (impossible) to 5 (perfectly plausible).

    Raises
    ------
    ValueError
        If the id, the item, the answer or the score is none, or the file is of another set.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    row = (
        blind.seed,
        blind.fingerprint,
        check_assessor(assessor),
        item,
        answer,
        plausibility,
        time,
    )
    _check_values("the answer", pd.DataFrame([row], columns=COLUMNS), len(blind))
    if item in _answered(path, blind, assessor):
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = len(_whole_lines(path))
    line = ("" if kept else _HEADER) + ",".join(map(str, row)) + "\n"
    # Not replaced as a whole: two assessors may be answering into one file.
    with path.open("ab") as file:
        file.truncate(kept)
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _whole_lines(path):
    """The bytes of a file up to its last end of line; a header that is not whole counts as none."""
    content = path.read_bytes() if path.exists() else b""
    kept = content[: content.rfind(b"\n") + 1]
    # What has no line and is no beginning of a header is not ours to write into.
    return kept if kept or _HEADER.encode().startswith(content) else content


def _check_set(path, answers, blind):
    sets = answers[["seed", "fingerprint"]].astype(str).drop_duplicates().to_numpy().tolist()
    ours = [str(blind.seed), blind.fingerprint]
    for theirs in sets:
        if theirs != ours:
            raise ValueError(
                f"{path} has answers to the set of seed {theirs[0]}, fingerprint {theirs[1]}; this "
                f"is the set of seed {ours[0]}, fingerprint {ours[1]}: other sockets, or another "
                "model. Choose another file, or put that one away"
            )


def _check_values(where, answers, n_items):
    accepted = {
        "item": range(1, n_items + 1),
        "answer": ANSWERS,
        "plausibility": SCORES,
    }
    for column, values in accepted.items():
        wrong = answers.loc[~answers[column].isin(values), column]
        if len(wrong):
            raise ValueError(
                f"{where}: {column} {wrong.iloc[0]!r}; accepted: "
                + (f"1 to {n_items}" if column == "item" else ", ".join(map(str, values)))
            )
    for assessor in answers["assessor"].unique():
        try:
            check_assessor(assessor)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


def _answered(path, blind, assessor):
    answers = read_answers(path, blind)
    return set(answers.loc[answers["assessor"] == assessor, "item"])


# The widget -----------------------------------------------------------------------------------


def widget(blind, path):
    """
    Show a set socket by socket, ask which it is, and record each answer.

    The assessor gives an id first. One that is in the file goes on at the first item that it has
    not answered. Nothing of the truth is in the widget.

    Parameters
    ----------
    blind : BlindSet
    path : str or Path
        Where answers go, see `record`.

    Returns
    -------
    ipywidgets.VBox
        Its children are first an HTML with the instructions, a Text for the id, a Button "start"
        and an HTML for messages; then that last one, an IntProgress, a plotly FigureWidget, the
        ToggleButtons of the answer and of the plausibility, and a Button "next"; at the end the
        HTML alone.

    Raises
    ------
    ValueError
        If the file is of another set.
    """
    path = Path(path)
    read_answers(path, blind)
    assessor = widgets.Text(description="your id", placeholder="letters, digits, - and _")
    start = widgets.Button(description="start", button_style="primary")
    message = widgets.HTML()
    progress = widgets.IntProgress(max=len(blind), layout={"width": "70%"})
    meshes = _centred_meshes(blind)
    # The scene is as large as all items together need, so that it is the same for each.
    union = np.concatenate([mesh.vertices for mesh in meshes]), meshes[0].faces
    socket = go.FigureWidget(figures.mesh_gallery([union], columns=1))
    answer = widgets.ToggleButtons(options=ANSWERS, value=None, description="It is")
    score = widgets.ToggleButtons(options=SCORES, value=None, description="plausible")
    following = widgets.Button(description="next", button_style="primary", disabled=True)
    box = widgets.VBox([widgets.HTML(_INSTRUCTIONS), assessor, start, message])
    item = None

    def show_first_unanswered():
        nonlocal item
        answered = _answered(path, blind, assessor.value)
        item = next((i for i in range(1, len(blind) + 1) if i not in answered), None)
        if item is None:
            message.value = f"All {len(blind)} sockets are answered. Thank you."
            box.children = [message]
            return
        message.value = f"Socket {item} of {len(blind)}"
        progress.value = len(answered)
        answer.value = score.value = None
        with socket.batch_update():
            socket.data[0].x, socket.data[0].y, socket.data[0].z = meshes[item - 1].vertices.T
        box.children = [message, progress, socket, answer, score, following]

    def on_start(_):
        check_assessor(assessor.value)
        show_first_unanswered()

    def on_next(_):
        record(path, blind, assessor.value, item, answer.value, score.value)
        show_first_unanswered()

    def on_choice(_):
        following.disabled = None in (answer.value, score.value)

    start.on_click(_reporting(on_start, message))
    following.on_click(_reporting(on_next, message))
    for choice in (answer, score):
        choice.observe(on_choice, names="value")
    return box


def _centred_meshes(blind):
    """Where a socket lay would tell a scan from a decoder's output, which is around the origin."""
    meshes = [surface.mesh() for surface in blind.surfaces]
    for mesh in meshes:
        mesh.vertices -= mesh.bounds.mean(axis=0)
    return meshes


def _reporting(action, message):
    """The action, its errors shown to the assessor, who would not see them otherwise."""

    def act(button):
        try:
            action(button)
        except (ValueError, OSError) as error:
            message.value = f"<b>{html.escape(str(error))}</b>"

    return act


# Analysis -------------------------------------------------------------------------------------


def judge(answers, blind):
    """
    Answers beside the truth.

    Parameters
    ----------
    answers : pandas.DataFrame
        What `read_answers` gave.
    blind : BlindSet

    Returns
    -------
    pandas.DataFrame
        With the columns "truth" (one of `ANSWERS`) and "is_right" added.
    """
    truth = np.array(ANSWERS)[blind.is_generated[answers["item"].to_numpy() - 1].astype(int)]
    return answers.assign(truth=truth, is_right=answers["answer"] == truth)


def accuracy(right, n, level=0.95):
    """
    Share of right answers, with its interval and a test against guessing.

    Parameters
    ----------
    right, n : int
        Right answers, and all.
    level : float
        Of confidence, in (0, 1).

    Returns
    -------
    dict
        "accuracy" in [0, 1]; "low" and "high", ends of Wilson's (1927) score interval; "p" of the
        two-sided exact binomial test against 0.5; "n".
    """
    test = binomtest(right, n)
    interval = test.proportion_ci(level, method="wilson")
    return {
        "accuracy": test.statistic,
        "low": interval.low,
        "high": interval.high,
        "p": test.pvalue,
        "n": n,
    }


def accuracies(judged):
    """
    How well each assessor, and all of them together, tell real from generated sockets.

    Parameters
    ----------
    judged : pandas.DataFrame
        What `judge` gave.

    Returns
    -------
    pandas.DataFrame
        A row an assessor and, last, `POOLED`; none where there are no answers. Columns as in
        `accuracy`, and "kappa": `agreement` in the last row, NaN elsewhere. The pooled interval and
        p take answers for independent, which those of several assessors to one socket are not: they
        are too sure.
    """
    groups = [*judged.groupby("assessor")["is_right"]]
    if len(judged):
        groups.append((POOLED, judged["is_right"]))
    rows = {name: accuracy(int(right.sum()), len(right)) for name, right in groups}
    table = pd.DataFrame(rows, index=["accuracy", "low", "high", "p", "n"]).T
    kappa = [agreement(judged) if name == POOLED else np.nan for name in table.index]
    return table.assign(kappa=np.array(kappa, float)).rename_axis("judge")


def agreement(answers):
    """
    How far assessors give the same answers, beyond what their habits would give by chance.

    Parameters
    ----------
    answers : pandas.DataFrame
        What `read_answers` gave.

    Returns
    -------
    float
        Cohen's (1960) kappa for two assessors, Fleiss' (1971) for more, over the items that all
        have answered: 1 for equal answers, 0 for what chance gives, below for less. NaN with fewer
        than two assessors, without such items, and where all answers are one and the same.
    """
    by_item = answers.pivot(index="item", columns="assessor", values="answer").dropna()
    if by_item.shape[1] < 2 or len(np.unique(by_item.to_numpy().astype(str))) < 2:
        return np.nan
    if by_item.shape[1] == 2:
        return float(cohen_kappa_score(*by_item.to_numpy().T))
    counts = [(by_item == each).sum(axis=1) for each in ANSWERS]
    return fleiss_kappa(np.stack(counts, axis=1))


def fleiss_kappa(counts):
    """
    Agreement of several raters on categories, beyond chance (Fleiss 1971, equations 1 to 7).

    Parameters
    ----------
    counts : (n_items, n_categories) int array
        How many of the raters, two or more and as many for each item, gave the category.

    Returns
    -------
    float
        (P - P_e) / (1 - P_e), P the mean share of agreeing pairs of raters and P_e that by chance;
        up to 1; NaN where only one category was given.

    Raises
    ------
    ValueError
        If items have not as many ratings, or fewer than two.
    """
    counts = np.asarray(counts)
    raters = np.unique(counts.sum(axis=1))
    if len(raters) != 1 or raters[0] < 2:
        raise ValueError(f"items have {raters.tolist()} ratings; all need as many, 2 or more")
    pairs = (counts * (counts - 1)).sum(axis=1) / (raters[0] * (raters[0] - 1))
    by_chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    if by_chance == 1:
        return np.nan
    return float((pairs.mean() - by_chance) / (1 - by_chance))


def plausibility(judged):
    """
    How plausible assessors find real and generated sockets, whatever they took them for.

    Parameters
    ----------
    judged : pandas.DataFrame
        What `judge` gave.

    Returns
    -------
    pandas.DataFrame
        A row for each of `ANSWERS` that has scores: "mean" and "sd" (n - 1; NaN for one) in units
        of the score, "n".
    """
    scores = judged.groupby("truth")["plausibility"].agg(["mean", "std", "count"])
    scores = scores.rename(columns={"std": "sd", "count": "n"}).rename_axis("socket")
    return scores.reindex([each for each in ANSWERS if each in scores.index])


# The machine's counterpart --------------------------------------------------------------------


def machine_counterpart(blind, n_points=1024, n_permutations=199, seed=0):
    """
    How well two machines tell the sockets of a set apart, from the surfaces that experts see.

    - 1-NN: by the nearest of the other sockets, in Chamfer distance of `n_points` evenly spread
      points in the unit sphere (`metrics.one_nearest_neighbor_accuracy`).
    - classifier: a classifier two-sample test (Lopez-Paz and Oquab 2017), the 5-fold
      cross-validated accuracy of a logistic regression on `features` and their squares.

    Unlike an expert, the machines are told which of the other sockets are real.

    Parameters
    ----------
    blind : BlindSet
    n_points : int
    n_permutations : int
        Of the labels, for the p-values.
    seed : int
        Of the points, the folds and the permutations.

    Returns
    -------
    pandas.DataFrame
        Rows "machine: 1-NN" and "machine: classifier", columns as in `accuracies`. "p" is the share
        of permutations, the given labels among them, whose accuracy is as far from the
        permutations' mean; "kappa" is NaN. The interval takes decisions for independent, which they
        are not quite: it is a little too short.
    """
    tests = {
        "machine: 1-NN": _nearest_neighbor_test(blind, n_points, n_permutations, seed),
        "machine: classifier": _classifier_test(blind, n_permutations, seed),
    }
    rows = {}
    for name, (found, permuted) in tests.items():
        rows[name] = accuracy(round(found * len(blind)), len(blind))
        far = np.abs(permuted - permuted.mean()) >= abs(found - permuted.mean()) - 1e-9
        rows[name] |= {"accuracy": found, "p": (1 + far.sum()) / (1 + n_permutations)}
    return pd.DataFrame(rows).T.assign(kappa=np.nan).rename_axis("judge")


def features(surfaces):
    """
    Numbers by which sockets may be told apart.

    Parameters
    ----------
    surfaces : sequence of SocketSurface
        Two or more, their grids alike.

    Returns
    -------
    (n, n_features) float64 array
        Standardised: the lengths, area, volume and perimeters of `SocketSurface.measure`; the
        roughness, as the mean angle between neighbouring triangles; up to 10 principal components
        of the surface grid.
    """
    measures = pd.DataFrame([surface.measure() for surface in surfaces]).select_dtypes("number")
    roughness = [np.mean(surface.mesh().face_adjacency_angles) for surface in surfaces]
    grids = np.stack([(s.vertices - s.vertices.mean(axis=(0, 1))).ravel() for s in surfaces])
    components = PCA(min(10, len(grids) - 1), svd_solver="full").fit_transform(grids)
    return StandardScaler().fit_transform(np.column_stack([measures, roughness, components]))


def _nearest_neighbor_test(blind, n_points, n_permutations, seed):
    """Accuracy, and those (n_permutations,) of permuted labels."""
    clouds = np.stack([surface.sample(n_points, seed) for surface in blind.surfaces])
    distances = pairwise_chamfer(normalize(clouds, "unit-sphere")[0])

    def score(labels):
        a, b = np.flatnonzero(labels), np.flatnonzero(~labels)
        return one_nearest_neighbor_accuracy_of(
            *(distances[np.ix_(*pair)] for pair in ((a, a), (a, b), (b, b)))
        )

    rng = np.random.default_rng(seed)
    permuted = [score(rng.permutation(blind.is_generated)) for _ in range(n_permutations)]
    return score(blind.is_generated), np.array(permuted)


def _classifier_test(blind, n_permutations, seed):
    """Accuracy, and those (n_permutations,) of permuted labels."""
    # Found without the labels, features favour neither the given ones nor permuted ones.
    values = features(blind.surfaces)
    folds = min(5, np.bincount(blind.is_generated).min())
    found, permuted, _ = permutation_test_score(
        # Squares: samples that vary too little have the right means.
        LogisticRegression(C=0.1, max_iter=1000),
        np.column_stack([values, values**2]),
        blind.is_generated,
        cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
        n_permutations=n_permutations,
        random_state=seed,
    )
    return found, permuted


# In words -------------------------------------------------------------------------------------


def results(answers, blind, machine):
    """
    T5: who tells real from generated sockets, and how well.

    Parameters
    ----------
    answers : pandas.DataFrame
        What `read_answers` gave; there may be none.
    blind : BlindSet
    machine : pandas.DataFrame
        What `machine_counterpart` gave.

    Returns
    -------
    pandas.DataFrame
        The rows of `accuracies`, where there are answers, and of `machine`.
    """
    human = accuracies(judge(answers, blind))
    table = pd.concat([human, machine]) if len(human) else machine
    return table.astype({"n": int})


def detectable(n, alpha=0.05):
    """
    The lowest accuracy that the two-sided exact binomial test tells from guessing.

    Parameters
    ----------
    n : int
        Answers.
    alpha : float
        What p must be below.

    Returns
    -------
    float
        In (0.5, 1]; NaN where even n right answers are too few.
    """
    told = [k for k in range(n // 2, n + 1) if binomtest(k, n).pvalue < alpha]
    return told[0] / n if told else np.nan


def verdict(row, alpha=0.05):
    """
    What an accuracy says, in words that hold for its numbers.

    Parameters
    ----------
    row : pandas.Series
        Of `results`.
    alpha : float
        What p must be below to speak of a difference.

    Returns
    -------
    str
        Such as "told apart (accuracy 0.70, interval 0.60 to 0.79, p = 0.002)".
    """
    what = "no difference from guessing was found"
    if row["p"] < alpha:
        what = "told apart" if row["accuracy"] > 0.5 else "wrong more often than guessing is"
    p = "p < 0.001" if row["p"] < 0.001 else f"p = {row['p']:.2g}"
    interval = f"interval {row['low']:.2f} to {row['high']:.2f}"
    return f"{what} (accuracy {row['accuracy']:.2f}, {interval}, {p})"
