"""Recipes: the architecture of an adversarial autoencoder and the settings of its training."""

import dataclasses
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Recipe:
    """
    The architecture of an adversarial autoencoder and the settings of its training.

    Parameters
    ----------
    name : str
        Its name in tables and files.
    n_points : int
        Points of a reconstructed cloud.
    code_size : int
        Numbers in a latent code.
    prior_std : float
        Standard deviation of the prior N(0, prior_std^2) on each number of the code.
    encoder, decoder, discriminator : tuple of int
        Widths of the hidden layers. Those of the encoder act on each point, the others on the code.
    linear_models : int
        Number of linear shape models that the decoder adds to its layers' output, each times a
        gate that depends on the code, see `LinearModels`. 0 in the paper.
    encoder_points : int or None
        Points that the encoder sees at once. A training step draws that many at random; `encode`
        splits a cloud into parts of that size and averages their codes. None: all points.
    tnets : bool
        Learnt input (3 x 3) and feature transforms, as in PointNet (Qi et al. 2017).
    stochastic : bool
        The encoder gives a mean and a standard deviation, and codes of training are drawn from
        N(mean, std^2). Otherwise the code is the mean.
    standardized : bool
        The encoder ends in a batch normalization to the prior's mean and standard deviation. Then
        the discriminator shapes the rest of the distribution only.
    adversarial : {"cross-entropy", "wasserstein"}
        The discriminator's loss: that of Goodfellow et al. (2014), as in the paper, or that of a
        Wasserstein critic with gradient penalty (Gulrajani et al. 2017), as in 3dAAE (Zamorski et
        al. 2020).
    critic_steps : int
        Discriminator updates in one training step.
    gradient_penalty : float
        Weight of the penalty on the critic's slope (Wasserstein only).
    reduction : {"mean", "sum"}
        Chamfer loss: mean or sum over points.
    reconstruction_weight, discriminator_weight, generator_weight : float
        Weights of the three losses.
    shared_pass : bool
        Encode once in a step. The generator optimizer then updates the encoder by the sum of
        reconstruction and generator loss, the autoencoder optimizer the decoder by the
        reconstruction loss. Otherwise three separate updates, as in the paper.
    autoencoder_rate, discriminator_rate, generator_rate : float
        Learning rates (of Adam).
    decay : {"cosine", "constant"}
        Schedule of the learning rates: down to zero over the run, or unchanged.
    beta_1, beta_2 : float
        Decay of Adam's moments.
    normalization : {"dataset", "unit-sphere"}
        See `aaelib.shapes.normalize`. With "unit-sphere" decoded clouds have no size of their own.
    refinement_steps : int
        Steps by which `encode` and `reconstruct` improve the encoder's codes, see
        `refinement.refine`. 0 in the paper.
    finetuning_steps : int
        Steps after training in which the decoder learns from refined codes, see
        `training.finetune_decoder`. 0 in the paper.
    finetuning_rate : float
        Their first learning rate (of Adam); it falls to zero.
    precision : {"float32", "mixed_bfloat16"}
        Precision of encoder and decoder, except for their outputs; weights and losses are always
        float32. "mixed_bfloat16" is for accelerators that support it. On a CPU it is slower
        (`make bench`).
    """

    name: str = "compact"
    n_points: int = 2048
    code_size: int = 16
    prior_std: float = 0.2
    encoder: tuple = (64, 128, 256, 256)
    decoder: tuple = (256, 512, 1024)
    discriminator: tuple = (256, 256)
    linear_models: int = 2
    encoder_points: int | None = 512
    tnets: bool = False
    stochastic: bool = False
    standardized: bool = True
    adversarial: str = "wasserstein"
    critic_steps: int = 3
    gradient_penalty: float = 10.0
    reduction: str = "mean"
    reconstruction_weight: float = 100.0
    discriminator_weight: float = 1.0
    generator_weight: float = 0.03
    shared_pass: bool = True
    autoencoder_rate: float = 1e-3
    discriminator_rate: float = 5e-4
    generator_rate: float = 1e-3
    decay: str = "cosine"
    beta_1: float = 0.9
    beta_2: float = 0.999
    normalization: str = "dataset"
    refinement_steps: int = 100
    finetuning_steps: int = 200
    finetuning_rate: float = 3e-4
    precision: str = "float32"

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not _is_accepted(field, value):
                # YAML 1.1 requires a decimal point before the e.
                hint = " (text; in YAML 1e-4 is text, 1.0e-4 a number)" * isinstance(value, str)
                raise ValueError(
                    f"recipe: {field.name} is {value!r}{hint if field.name in _RANGES else ''}; "
                    f"accepted: {_accepted(field)}"
                )
            if field.type is tuple:
                object.__setattr__(self, field.name, tuple(value))


# Accepted values of entries, and of each width. Bounds are inclusive.
_CHOICES = {
    "adversarial": ("cross-entropy", "wasserstein"),
    "reduction": ("mean", "sum"),
    "decay": ("cosine", "constant"),
    "normalization": ("dataset", "unit-sphere"),
    "precision": ("float32", "mixed_bfloat16"),
}
_RANGES = {
    "n_points": (1, 1_000_000),
    "code_size": (1, 100_000),
    "prior_std": (1e-6, 1e3),
    "encoder": (1, 100_000),
    "decoder": (1, 100_000),
    "discriminator": (1, 100_000),
    "linear_models": (0, 1000),
    "encoder_points": (1, 1_000_000),
    "critic_steps": (1, 1000),
    "gradient_penalty": (0.0, 1e6),
    "reconstruction_weight": (0.0, 1e6),
    "discriminator_weight": (0.0, 1e6),
    "generator_weight": (0.0, 1e6),
    "autoencoder_rate": (0.0, 1.0),
    "discriminator_rate": (0.0, 1.0),
    "generator_rate": (0.0, 1.0),
    "beta_1": (0.0, 0.99999),
    "beta_2": (0.0, 0.99999),
    "refinement_steps": (0, 1_000_000),
    "finetuning_steps": (0, 1_000_000),
    "finetuning_rate": (0.0, 1.0),
}


def _is_accepted(field, value):
    """Check an entry's type and range."""
    if field.name in _CHOICES:
        return isinstance(value, str) and value in _CHOICES[field.name]
    if field.name not in _RANGES:
        return isinstance(value, field.type)
    if field.type is tuple:
        values, kind = value, Integral
        if not isinstance(values, list | tuple) or not values:
            return False
    else:
        if value is None:
            return field.type == int | None
        values, kind = (value,), Real if field.type is float else Integral
    low, high = _RANGES[field.name]
    return all(isinstance(v, kind) and not isinstance(v, bool) and low <= v <= high for v in values)


def _accepted(field):
    """Accepted values of an entry in words."""
    if field.name in _CHOICES:
        return " or ".join(map(repr, _CHOICES[field.name]))
    if field.name not in _RANGES:
        return {bool: "true or false", str: "text"}[field.type]
    low, high = _RANGES[field.name]
    what = {
        float: "a number",
        tuple: "a list of whole numbers, one a layer, each",
        int | None: "None or a whole number",
    }.get(field.type, "a whole number")
    return f"{what} from {low:g} to {high:g}"


RECIPES = {
    "compact": Recipe(),
    # Costa et al. 2022, section 3, and the code published with it.
    "paper": Recipe(
        name="paper",
        code_size=256,
        encoder=(64, 128, 256, 256, 512),
        decoder=(256, 512, 1024),
        discriminator=(512, 512, 128, 64),
        linear_models=0,
        encoder_points=None,
        tnets=True,
        stochastic=True,
        standardized=False,
        adversarial="cross-entropy",
        critic_steps=1,
        reduction="sum",
        reconstruction_weight=0.05,
        generator_weight=1.0,
        shared_pass=False,
        autoencoder_rate=2e-4,
        discriminator_rate=2.5e-5,
        generator_rate=5e-5,
        decay="constant",
        beta_1=0.5,
        normalization="unit-sphere",
        refinement_steps=0,
        finetuning_steps=0,
    ),
}


def recipe(name="compact", /, **changes):
    """
    A recipe by name, with some of its entries changed.

    Parameters
    ----------
    name : {"compact", "paper"}
    **changes
        Entries of `Recipe` to replace, the recipe's `name` included.

    Returns
    -------
    Recipe

    Raises
    ------
    ValueError
        For an unknown name or entry, or a value out of range.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; accepted: {sorted(RECIPES)}")
    known = {field.name for field in dataclasses.fields(Recipe)}
    if unknown := sorted(set(changes) - known):
        raise ValueError(f"recipe {name!r}: unknown entries {unknown}; accepted: {sorted(known)}")
    return dataclasses.replace(RECIPES[name], **changes)


def load_recipe(source="compact", /, defaults=None, **changes):
    """
    A recipe by name or from a YAML file, with some of its entries changed.

    A file (`.yaml`, `.yml`) holds entries of `Recipe`, and `base`, the name of the recipe with the
    other entries ("compact" by default). Without a `name` the recipe is named after the file.
    `defaults` take the place of the base's entries, not of the file's. Text in `changes` is read as
    the entry's type requires: "1e-3", "64,128", "null".
    """
    defaults = defaults or {}
    if not _is_file(source):
        return recipe(str(source), **_typed(defaults | changes))
    entries = _read_recipe(Path(source))
    base = entries.pop("base", "compact")
    try:
        named = {"name": Path(source).stem}
        return recipe(base, **_typed(defaults | named | entries | changes))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: {error}") from error


def _is_file(source):
    return Path(source).suffix.lower() in (".yaml", ".yml")


def _read_recipe(file):
    if not file.exists():
        raise FileNotFoundError(f"no recipe file {file}")
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    except Exception as error:  # values such as invalid dates raise errors of other types
        raise ValueError(f"{file} is not YAML: {error}") from error
    if not isinstance(entries, dict):
        raise ValueError(
            f"{file} holds {type(entries).__name__}, not entries of a recipe; write lines such as "
            "`code_size: 32`"
        )
    return entries


def _typed(entries):
    """Entries with text read by the types of `Recipe`; a name may look like a number."""
    types = {field.name: field.type for field in dataclasses.fields(Recipe)}
    return {
        key: _parsed(value, types.get(key, str)) if isinstance(value, str) else value
        for key, value in entries.items()
    } | ({"name": str(entries["name"])} if "name" in entries else {})


def _parsed(text, kind):
    if kind is str:
        return text
    try:
        value = yaml.safe_load(f"[{text.strip('[]() ')}]" if kind is tuple else text)
    except Exception:  # `Recipe` refuses the text
        return text
    if isinstance(value, str) and kind is float:
        try:
            return float(value)  # YAML wants 1.0e-3 where everyone writes 1e-3
        except ValueError:
            return value
    return value
