"""The models to take away, and a model card for each (Mitchell et al. 2019)."""

from ..models.exported import export_weights
from ..models.files import load
from ..models.runs import card_of
from ..shapes.writing import write_whole
from . import tables
from .baselines import NEAREST
from .conditions import BEFORE, BEST, CONDITIONS, budget, path_of, study_recipe, unseen_sockets
from .spread import with_spread
from .templating import render


def weights_path(study, name):
    """The file of a model to take away."""
    return study.folder / "weights" / f"{name}.npz"


def export(study):
    """Write the models to take away: of the split's training sockets, and pre-trained."""
    export_weights(load(path_of(study, CONDITIONS[BEST])), weights_path(study, "sockets"))
    export_weights(load(study.model_path("pretrained")), weights_path(study, "pretrained"))


def write_cards(study, measured, evaluated):
    """
    Write the model cards; return that of the socket model, Markdown.

    It has metrics of the model (`evaluation.measure`), of the linear models that it started as, and
    of real sockets (from `conditions.evaluate_all`).
    """
    best, kinds = CONDITIONS[BEST], [unseen_sockets(study).kinds]
    shown = {
        "this model": [measured],
        BEFORE[BEST]: evaluated[BEFORE[BEST]][:1],
        "real training sockets": evaluated[NEAREST][:1],
    }
    metrics = with_spread(tables.summary(shown, of_draws=True))
    metrics = metrics.join(with_spread(tables.by_kind(kinds, shown))).T.rename_axis("")
    about = {"source": card_of(path_of(study, best))["source"].split(",")[0]}
    about |= {"recipe": study_recipe(study, best), "steps": budget(study, best)}
    about["n"] = {part: len(index) for part, index in study.load_sockets()[2].items()}
    about["metrics"] = metrics.to_markdown(disable_numparse=True)
    sockets = render("card_sockets.md.j2", profile=study.profile, **about)
    about = {"recipe": study_recipe(study)}
    about["corpus"] = card_of(study.model_path("pretrained"))["source"]
    pretrained = render("card_pretrained.md.j2", profile=study.profile, **about)
    for name, text in {"sockets": sockets, "pretrained": pretrained}.items():
        write_whole(weights_path(study, name).with_suffix(".md"), text + "\n")
    return sockets + "\n"
