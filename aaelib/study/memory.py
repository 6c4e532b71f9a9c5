"""Whether samples are copies of sockets that were trained on."""

import pandas as pd

from . import baselines, conditions


def check(study, evaluated):
    """
    Compare how near samples and test sockets are to training sockets, on the study's split.

    Both are clouds of one density: decoders have that of the published clouds.

    Parameters
    ----------
    study : Study
    evaluated : dict
        What `conditions.evaluate_all` gives.

    Returns
    -------
    distances : dict of str to (n,) array
        Chamfer distances (unit sphere) to the nearest training socket, for
        `figures.nearest_histogram`.
    table : pandas.DataFrame
        A row a model: `baselines.memorising`.
    """
    points, sets = study.load_sockets()[0].points, conditions.socket_sets(study)
    unseen, distances, rows = conditions.unseen_sockets(study).points, {}, {}
    for name, known in ((conditions.BEST, "training"), ("neither", "scans")):
        learnt = points[sets[known]]
        of_samples = baselines.nearest_distances(evaluated[name][0]["samples"], learnt)
        of_test = baselines.nearest_distances(unseen, learnt)
        distances[f"samples, {name}"] = of_samples
        distances[f"test sockets, to {len(learnt)} sockets"] = of_test
        rows[name] = baselines.memorising(of_samples, of_test)
    return distances, pd.DataFrame(rows).T.rename_axis("model")
