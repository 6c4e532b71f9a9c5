"""The finished models on sealed sockets, which nothing was trained on, chosen by or tuned to."""

from ..models.files import load
from ..shapes.sockets import fit_surfaces
from . import baselines, conditions
from .evaluation import Unseen, measure


def evaluate(study, held):
    """
    Evaluate the models of every split, and linear shape models of their training sockets.

    Parameters
    ----------
    study : Study
    held : aaelib.shapes.Shapes
        What `load_sockets(sealed=True)` gives.

    Returns
    -------
    dict
        Name -> list of results of `Unseen.evaluate`, one a split.
    """
    unseen, seeds = Unseen(held, fit_surfaces(held.points), drawn=1), conditions.draw_seeds(study)
    shapes, surfaces, _ = study.load_sockets()
    found = {}
    for each in study.splits():
        for condition in conditions.CONDITIONS.values():
            aae = load(conditions.path_of(each, condition))
            found.setdefault(condition.name, []).append(measure(aae, unseen, seeds))
        index = conditions.socket_sets(each)["training"]
        known = baselines.Known(shapes[index], [surfaces[i] for i in index])
        size = conditions.study_recipe(each).code_size
        result = unseen.evaluate(*baselines.linear(unseen, known, seeds, size))
        found.setdefault(baselines.LINEAR_ALL_SOCKETS, []).append(result)
    return found
