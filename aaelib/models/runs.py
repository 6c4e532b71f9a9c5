"""Files of a training run: the state to go on from, then the model with its history and card."""

import functools
import json
import os
import shutil
import warnings
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import joblib
import pandas as pd

from ..shapes.writing import refuse_folder, replacing
from . import code, exported, files
from .autoencoder import AdversarialAutoencoder

# When the code of these modules changes, or of modules that they import, `train` does a finished
# run again.
_CODE = ("aaelib.models.training", "aaelib.models.starts", "aaelib.shapes.shape_model")


@dataclass(frozen=True)
class Run:
    """
    A finished training run.

    Attributes
    ----------
    path : Path
        The model's `.keras` file; beside it are the history (`.csv`) and the card (`.json`).
    history : pandas.DataFrame
        A row an epoch: training values, `val_...` and `val_jsd`.
    best_epoch : int
        The selected one, counted from 0.
    card : dict
        Source of the shapes, settings, and in "split" the names and digests of the shapes of each
        part.
    model : AdversarialAutoencoder
        Of the selected epoch; read from the file when it is first asked for.
    """

    path: Path
    history: pd.DataFrame
    best_epoch: int
    card: dict

    @functools.cached_property
    def model(self):
        return files.load(self.path)

    @classmethod
    def read(cls, path):
        """Read what `State.finish` wrote."""
        card = card_of(path)
        history = pd.read_csv(path.with_suffix(".csv"), index_col="epoch")
        return cls(path, history, card["best_epoch"], card)


def card_of(path):
    """The card (a dict) of the run that wrote a model; empty if it is not beside the model."""
    file = path.with_suffix(".json")
    if not (file.exists() and path.exists()):
        return {}
    try:
        card = dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{file} is no card of a model ({error}); move it away, and train again if the model "
            "is to have one"
        ) from error
    return card if _written_by(path) in ("", card.get("fingerprint")) else {}


def _written_by(path):
    """Fingerprint of the run that wrote a model; empty if the file does not tell."""
    try:
        with ZipFile(path) as file:
            return file.comment.decode(errors="replace")
    except BadZipFile:
        return ""


def load_with_card(model):
    """
    Load a model with its card (empty without one) and its name.

    `model` is a `.keras` or `.npz` file, "sockets" or "pretrained", a `Run` or an
    `AdversarialAutoencoder`.
    """
    if isinstance(model, Run):
        return model.model, model.card, model.model.recipe.name
    if isinstance(model, AdversarialAutoencoder):
        return model, {}, model.recipe.name
    card = {} if model in exported.SHIPPED else card_of(Path(model))
    return files.load(model), card, Path(model).stem


def fingerprint(parts, recipe, start, settings, card):
    """Digest of all that a run depends on: code, shapes, recipe, start, settings and card."""
    start, settings = dict(vars(start)), dict(vars(settings))
    if start["model"] is not None:
        start["model"] = start["model"].get_weights()
    # Plain copies: joblib's digest depends on whether two things are one object.
    for known in (start, settings):
        known["shape_models"] = [dict(vars(model)) for model in known["shape_models"]]
    points = [shapes.points for shapes in parts]
    return joblib.hash([code.digest_of(*_CODE), points, vars(recipe), start, settings, card])


def check_place(path):
    """Raise if what no run wrote would be replaced by one: before training, not after it."""
    if path.suffix.lower() != ".keras":
        raise ValueError(f"{path} has the suffix {path.suffix!r}; a model is written as .keras")
    for suffix, mark in (
        (".keras", b"model.weights.h5"),
        (".csv", b"val_jsd"),
        (".json", b'"best_epoch"'),
    ):
        file = path.with_suffix(suffix)
        refuse_folder(file)
        if file.exists() and mark not in file.read_bytes():
            raise FileExistsError(f"{file} is of no run of ours: move it away, or rename the model")


def put_aside(folder, fingerprint):
    """Move the state of a different run aside, beside those that were moved there before."""
    file = folder / "state.json"
    others = [f for f in folder.glob("[!.]*") if f.suffix != ".keras" and f != file]
    if others or folder.is_file():
        file = [*others, folder][0]
        raise FileExistsError(f"a file is in the place of a run's state: {file}; move it away")
    if file.exists() and _read_state(file)["fingerprint"] != fingerprint:
        names = (f"{folder.name}-before{number or ''}" for number in count())
        aside = next(path for path in map(folder.with_name, names) if not path.exists())
        os.replace(folder, aside)
        warnings.warn(
            f"{folder} was of an unfinished run with other settings, code or data: it is {aside} "
            "now; to go on with that run, move it back and start it as before",
            stacklevel=4,  # the call of `train`
        )


def _read_state(file):
    """Fingerprint and history of a run that is not done."""
    try:
        state = json.loads(file.read_text())
        return {"fingerprint": state["fingerprint"], "history": list(state["history"])}
    except (ValueError, TypeError, KeyError) as error:
        message = f"{file} is no state of a run ({error!r}); move its folder away to begin again"
        raise ValueError(message) from error


class State:
    """
    What a run needs to go on, in a folder: the last epoch's model, the best one's, the history.

    `state.json` holds the history and is replaced last: whenever the process is killed, the models
    of the epochs that it names are whole.

    Parameters
    ----------
    folder : Path
    fingerprint : str
    first_selectable : int
        The first epoch that can be the best.
    """

    def __init__(self, folder, fingerprint, first_selectable=0):
        self.folder, self.file = folder, folder / "state.json"
        self.fingerprint, self.first_selectable = fingerprint, first_selectable
        self.history = _read_state(self.file)["history"] if self.file.exists() else []

    @property
    def epoch(self):
        """Epochs done."""
        return len(self.history)

    @property
    def best(self):
        """The epoch of the lowest divergence from the validation shapes; None before the first."""
        selectable = range(self.first_selectable, self.epoch)
        return min(selectable, key=lambda i: self.history[i]["val_jsd"], default=None)

    def load(self, epoch):
        """Load the model of the last or the best epoch."""
        return files.load(self._model(epoch))

    def _model(self, epoch):
        return self.folder / f"epoch-{epoch}.keras"

    def keep(self, aae, row):
        """Keep a model at the end of an epoch, with its row of the history."""
        self.folder.mkdir(parents=True, exist_ok=True)
        aae.save(self._model(self.epoch))
        self.history.append(row)
        with replacing(self.file) as temporary:
            saved = {"fingerprint": self.fingerprint, "history": self.history}
            temporary.write_text(json.dumps(saved))
        for old in self.folder.glob("*.keras"):
            if old not in (self._model(self.epoch - 1), self._model(self.best)):
                old.unlink(missing_ok=True)

    def finish(self, path, aae, card):
        """Move the trained model into place; the card, which says that the run is done, is last."""
        final = self.folder / "final.keras"
        aae.save(final)
        with replacing(path) as temporary:
            os.replace(final, temporary)
            # The card of the run before, which is still there, is not this model's.
            with ZipFile(temporary, "a") as file:
                file.comment = self.fingerprint.encode()
        with replacing(path.with_suffix(".csv")) as temporary:
            temporary.write_text(pd.DataFrame(self.history).set_index("epoch").to_csv())
        card = {"recipe": aae.recipe.name, "best_epoch": self.best, **card}
        with replacing(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(card | {"fingerprint": self.fingerprint}, indent=1))
        shutil.rmtree(self.folder)
