"""The models to take away, and a model card for each (Mitchell et al. 2019)."""

from ..models.files import export_weights, load
from ..models.runs import card_of
from ..shapes.writing import replacing
from .baselines import DRAWN_PER_SOCKET
from .conditions import BEST, CONDITIONS, budget, study_recipe

_WRITTEN_BY = (
    "An adversarial autoencoder of point clouds, written by `make reproduce PROFILE={profile}`."
)
_USE = """## Intended use

Research and teaching on shape models of sockets. **Not a medical device**: a generated socket has
not been assessed by anyone, and must not be made for a patient.
"""


def weights_path(study, name):
    """The file of a model to take away."""
    return study.folder / "weights" / f"{name}.npz"


def export(study, seed):
    """Write the models to take away: of all training sockets with that seed, and pre-trained."""
    chosen = {
        "sockets": study.model_path(CONDITIONS[BEST].slug, seed),
        "pretrained": study.model_path("pretrained"),
    }
    for name, path in chosen.items():
        export_weights(load(path), weights_path(study, name))


def write_cards(study, metrics):
    """
    Write the model cards; return that of the socket model, Markdown.

    `metrics` (pandas.DataFrame) is shown in it: a row a metric, a column for the model and for each
    baseline that it is compared with.
    """
    texts = {"sockets": _socket_card(study, metrics), "pretrained": _pretrained_card(study)}
    for name, text in texts.items():
        with replacing(weights_path(study, name).with_suffix(".md")) as temporary:
            temporary.write_text(text)
    return texts["sockets"]


def _socket_card(study, metrics):
    best, recipe = CONDITIONS[BEST], study_recipe(study, CONDITIONS[BEST])
    source = card_of(study.model_path(best.slug, study["seeds"][0]))["source"]
    n = {part: len(index) for part, index in study.load_shapes("sockets")[2].items()}
    steps = budget(study, best)
    return f"""# Model card: sockets

{_WRITTEN_BY.format(profile=study.profile)}

| | |
|---|---|
| load | `aaelib.models.load("sockets")` |
| encoder | PointNet, to a code of {recipe.code_size} numbers, then refined in \
{recipe.refinement_steps} steps |
| decoder | {recipe.linear_models} gated linear shape models and a network |
| trained on | {n["scans"] + n["more"]} sockets, transtibial (TT) and transfemoral (TF), and draws \
from their shape models |
| source | {source.split(",")[0]} |
| training | from the shape models: {steps["steps_before"]} steps in which the encoder learns to \
read them, {steps["steps"]} adversarial ones, {steps["steps_after"]} of the decoder at refined \
codes |
| chosen on | {n["validation"]} other sockets |
| tested on | {n["test"]} sockets that nothing was fitted to or chosen by |
| weights | half precision, coordinates single |
| licence | CC BY-SA 4.0, as the public sockets |

## How good

On the test sockets, this model in the precision in which it comes, beside the linear shape model of
the same sockets with as many numbers, and beside real training sockets. Chamfer distance and what
follows from it are in the unit sphere; samples are {DRAWN_PER_SOCKET} for each test socket. Lower
is better but for coverage; 1-NN accuracy is best at 0.5. ± is over draws.

{metrics.to_markdown(disable_numparse=True)}

## Limits

- The public sockets were drawn by their publishers from shape models of 30 TT and 21 TF scans: this
  model knows no more variety than those, and right legs only.
- Sockets must be in mm, the long axis along z, the closed end down, aligned as the public ones are.
- A shape that is no socket gets the nearest thing to it, without a warning.
- A decoded socket is {recipe.n_points} points; a surface is fitted to them.

{_USE}"""


def _pretrained_card(study):
    recipe = study_recipe(study)
    corpus = card_of(study.model_path("pretrained"))["source"]
    terms = "CC BY-SA 4.0"
    if "ModelNet" in corpus:
        terms += "; what it learnt from, ModelNet, is for academic use only: use it for no more"
    return f"""# Model card: pretrained

{_WRITTEN_BY.format(profile=study.profile)}

| | |
|---|---|
| load | `aaelib.models.load("pretrained")` |
| encoder, decoder | as those of "sockets"; a code of {recipe.code_size} numbers |
| trained on | {corpus}, shapes in the unit sphere |
| weights | half precision, coordinates single; no shape is part of them |
| licence | {terms} |

## Limits

- A start for training on other shapes (`aaelib.models.Start`), no good model of
  everyday ones: table T3 has its errors. What it is worth for sockets is in table T4, in the
  conditions with and without transfer.

{_USE}"""
