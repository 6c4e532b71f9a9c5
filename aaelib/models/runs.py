"""Files of a training run: the state to go on from, then the model with its history and card."""

import functools
import hashlib
import json
import os
import shutil
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..shapes.writing import refuse_folder, replacing
from . import code, files
from .autoencoder import AdversarialAutoencoder

# A change in the code of these modules, or of what they import, trains a finished run again.
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
        """Read what `finish` wrote."""
        if not path.exists():
            raise FileNotFoundError(
                f"{path} is not here, though another worker has written it; give all workers a "
                "folder that they share"
            )
        card = card_of(path)
        history = pd.read_csv(path.with_suffix(".csv"), index_col="epoch")
        return cls(path, history, card["best_epoch"], card)


def card_of(path):
    """The card beside a trained model, as a dict; empty without one."""
    file = path.with_suffix(".json")
    if not (file.exists() and path.exists()):
        return {}
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{file} is no card of a model ({error}); move it away, and train again if the model "
            "is to have one"
        ) from error


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
    card = {} if model in files.SHIPPED else card_of(Path(model))
    return files.load(model), card, Path(model).stem


def fingerprint(parts, recipe, start, settings, card):
    """Digest of all that a run depends on: code, shapes, recipe, start, settings and card."""
    digest = hashlib.sha256(code.digest_of(*_CODE).encode())
    apart = {"model": None, "shape_models": None}
    known = [vars(start) | apart, vars(settings) | apart, asdict(recipe), card]
    digest.update(json.dumps(known, sort_keys=True).encode())
    arrays = [shapes.points for shapes in parts]
    arrays += [] if start.model is None else start.model.get_weights()
    for model in (*start.shape_models, *settings.shape_models):
        arrays += [model.mean_, model.modes_]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class State:
    """
    What a run needs to go on, in a folder: the last epoch's model, the best one's, the history.

    `state.json` names the two models and is replaced last: whenever the process is killed, what it
    names is whole. A state that lacks something is removed; that of a run with other settings,
    code or data is moved aside.

    Parameters
    ----------
    folder : Path
    fingerprint : str
    clear : bool
        Whether this process may remove or move the state of a different run.
    """

    def __init__(self, folder, fingerprint, clear=True):
        self.folder, self.file, self.fingerprint = folder, folder / "state.json", fingerprint
        self.history, self.best = [], None
        saved = self._read()
        if saved.get("fingerprint") == fingerprint:
            self.history, self.best = saved["history"], saved["best"]
        elif clear and saved:
            self._put_aside()
        elif clear and folder.exists():
            shutil.rmtree(folder)  # which refuses a file, before training rather than after it

    def _read(self):
        """Read what is saved; nothing if it is not whole."""
        try:
            saved = json.loads(self.file.read_text())
            last, best = len(saved["history"]) - 1, saved["best"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        needed = [f"epoch-{last}.keras"] + [f"best-{best}.keras"] * (best is not None)
        return saved if all((self.folder / name).exists() for name in needed) else {}

    def _put_aside(self):
        """Keep the state of a different run, in place of one put aside earlier."""
        aside = self.folder.with_name(f"{self.folder.name}-before")
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(self.folder, aside)
        warnings.warn(
            f"{self.folder} was of an unfinished run with other settings, code or data: it is "
            f"{aside} now; to go on with that run, move it back and start it as before",
            stacklevel=4,
        )

    @property
    def epoch(self):
        """Epochs done."""
        return len(self.history)

    @property
    def model(self):
        return self.folder / f"epoch-{self.epoch - 1}.keras"

    @property
    def best_model(self):
        return self.folder / f"best-{self.best}.keras"

    def load(self, model):
        """Load one of the two models; an error names the folder that keeps it."""
        try:
            return files.load(model)
        except ValueError as error:
            raise ValueError(
                f"{error}. It was kept to go on from: remove {self.folder} to begin anew"
            ) from error

    def keep(self, aae, row, best):
        """Keep a model at the end of an epoch, and whether it is the best so far."""
        self.history.append(row)
        aae.save(self.model)
        if best:
            self.best = self.epoch - 1
            with replacing(self.best_model) as temporary:
                shutil.copyfile(self.model, temporary)
        with replacing(self.file) as temporary:
            saved = {"fingerprint": self.fingerprint, "history": self.history, "best": self.best}
            temporary.write_text(json.dumps(saved))
        for old in self.folder.glob("*.keras"):
            if old not in (self.model, self.best_model):
                old.unlink(missing_ok=True)

    def finish(self, path, aae, card):
        """Move the trained model into place; the card, which says that the run is done, is last."""
        final = self.folder / "final.keras"
        aae.save(final)
        path.with_suffix(".json").unlink(missing_ok=True)  # of another run, whose model goes now
        os.replace(final, path)
        with replacing(path.with_suffix(".csv")) as temporary:
            pd.DataFrame(self.history).set_index("epoch").to_csv(temporary)
        card = {"recipe": aae.recipe.name, "best_epoch": self.best, **card}
        with replacing(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(card | {"fingerprint": self.fingerprint}, indent=1))
        shutil.rmtree(self.folder)


def refuse_folders(path):
    """Raise if a folder is where one of a run's files will go: before training, not after it."""
    for suffix in (".keras", ".csv", ".json"):
        refuse_folder(path.with_suffix(suffix))
