"""The models to take away, and a model card for each (Mitchell et al. 2019)."""

from ..models.files import export_weights, load
from ..models.runs import card_of
from ..shapes.writing import replacing
from . import tables
from .baselines import NEAREST
from .conditions import BEFORE, BEST, CONDITIONS, budget, path_of, study_recipe, unseen_sockets
from .spread import with_spread
from .templating import render

# Named in full: by these names `models.code` finds what a notebook depends on.
_TEMPLATES = {"sockets": "card_sockets.md.j2", "pretrained": "card_pretrained.md.j2"}


def weights_path(study, name):
    """The file of a model to take away."""
    return study.folder / "weights" / f"{name}.npz"


def export(study):
    """Write the models to take away: of the split's training sockets, and pre-trained."""
    chosen = {
        "sockets": path_of(study, CONDITIONS[BEST]),
        "pretrained": study.model_path("pretrained"),
    }
    for name, path in chosen.items():
        export_weights(load(path), weights_path(study, name))


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
    metrics = with_spread(tables.summary_of_draws(shown))
    metrics = metrics.join(with_spread(tables.by_kind(kinds, shown))).T.rename_axis("")
    source = card_of(path_of(study, best))["source"]
    values = {
        "sockets": {
            "recipe": study_recipe(study, best),
            "source": source.split(",")[0],
            "n": {part: len(index) for part, index in study.load_sockets()[2].items()},
            "steps": budget(study, best),
            "metrics": metrics.to_markdown(disable_numparse=True),
        },
        "pretrained": {
            "recipe": study_recipe(study),
            "corpus": card_of(study.model_path("pretrained"))["source"],
        },
    }
    texts = {}
    for name, each in values.items():
        texts[name] = render(_TEMPLATES[name], profile=study.profile, **each) + "\n"
        with replacing(weights_path(study, name).with_suffix(".md")) as temporary:
            temporary.write_text(texts[name])
    return texts["sockets"]
