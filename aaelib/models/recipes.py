"""Recipes: the architecture of an adversarial autoencoder and the settings of its training."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BeforeValidator, Field

from .checked import checked

NETWORKS = ("encoder", "decoder", "discriminator")

# Refinement of codes, whichever library computes it.
ANY_DIRECTION = 0.05  # weight of the squared distance whatever its direction
PROBE = 0.05  # step of finite differences, in standard deviations of the prior
DAMPING, AFTER_FAILURE, AFTER_SUCCESS = 0.1, 4.0, 0.3

_LARGEST = 20_000  # bytes of a recipe's file: PyYAML reads 20 kB a second in the worst case


def _widths_in(text):
    """Split text of the command line, such as "64,128"."""
    return text.strip("[]() ").split(",") if isinstance(text, str) else text


def _none_in(text):
    """Read YAML's word for None."""
    return None if isinstance(text, str) and text == "null" else text


Points = Annotated[int, Field(ge=1, le=1_000_000)]
Width = Annotated[int, Field(ge=1, le=100_000)]
Widths = Annotated[
    tuple[Width, ...], Field(min_length=1, max_length=100), BeforeValidator(_widths_in)
]
Steps = Annotated[int, Field(ge=0, le=1_000_000)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Rate = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, le=0.99999)]


@checked
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
    matching : {"discriminator", "mmd", "sliced Wasserstein"}
        What pushes codes towards the prior: the discriminator, or a distance between codes and
        draws, see `adversarial.mismatch`. Then the discriminator learns as well, but only tells how
        well codes can be told from draws.
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
        Steps of Levenberg and Marquardt by which `encode` and `reconstruct` move the encoder's
        codes to the most probable ones, see `refinement.refine`. 0: the encoder's codes as they
        are, from one pass, as in the paper.
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
    n_points: Points = 2048
    code_size: Width = 16
    prior_std: Annotated[float, Field(ge=1e-6, le=1e3)] = 0.2
    encoder: Widths = (64, 128, 256, 256)
    decoder: Widths = (256, 512, 1024)
    discriminator: Widths = (256, 256)
    linear_models: Annotated[int, Field(ge=0, le=1000)] = 2
    encoder_points: Annotated[Points | None, BeforeValidator(_none_in)] = 512
    tnets: bool = False
    stochastic: bool = False
    standardized: bool = True
    adversarial: Literal["cross-entropy", "wasserstein"] = "wasserstein"
    matching: Literal["discriminator", "mmd", "sliced Wasserstein"] = "discriminator"
    critic_steps: Annotated[int, Field(ge=1, le=1000)] = 3
    gradient_penalty: Weight = 10.0
    reduction: Literal["mean", "sum"] = "mean"
    reconstruction_weight: Weight = 100.0
    discriminator_weight: Weight = 1.0
    generator_weight: Weight = 0.03
    shared_pass: bool = True
    autoencoder_rate: Rate = 1e-3
    discriminator_rate: Rate = 5e-4
    generator_rate: Rate = 1e-3
    decay: Literal["cosine", "constant"] = "cosine"
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    normalization: Literal["dataset", "unit-sphere"] = "dataset"
    refinement_steps: Steps = 5
    finetuning_steps: Steps = 200
    finetuning_rate: Rate = 3e-4
    precision: Literal["float32", "mixed_bfloat16"] = "float32"


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


def recipe(source="compact", defaults=None, /, **changes):
    """
    A recipe by name or from a YAML file, with some of its entries changed.

    Parameters
    ----------
    source : {"compact", "paper"} or Path
        A file (`.yaml`, `.yml`) holds entries of `Recipe`, and `base`, the name of the recipe with
        the other entries ("compact" by default). Without a `name` the recipe is named after the
        file.
    defaults : dict, optional
        Entries that take the place of the named recipe's or the base's, not of the file's.
    **changes
        Entries to replace, the recipe's `name` included. Text is read as the entry's type requires:
        "1e-3", "64,128", "null".

    Returns
    -------
    Recipe

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        For an unknown recipe or entry, a value out of range, or a file that is not YAML.
    """
    entries = {"base": source}
    if Path(source).suffix.lower() in (".yaml", ".yml"):
        entries = {"base": "compact", "name": Path(source).stem} | _read(Path(source))
    base = entries.pop("base")
    if base not in list(RECIPES):
        raise ValueError(f"recipe {source}: there is no {base!r}; accepted: {sorted(RECIPES)}")
    try:
        return replace(RECIPES[base], **{**(defaults or {}), **entries, **changes})
    except ValueError as error:
        raise ValueError(f"recipe {source}: {error}") from None


class _Loader(yaml.SafeLoader):
    """YAML without merge keys (`<<`): each may double what is read, and so take all memory."""

    def flatten_mapping(self, node):
        """Leave them in; a value is made of no such key."""


def _read(file):
    """Read entries from a YAML file."""
    text = file.read_bytes()
    if len(text) > _LARGEST:
        raise ValueError(f"{file} is {len(text):,} bytes, and a recipe {_LARGEST:,} at most")
    try:
        return {str(key): value for key, value in yaml.load(text, _Loader).items()}
    except Exception as error:  # values such as invalid dates raise errors of other types
        raise ValueError(
            f"{file} does not hold YAML with entries of a recipe, such as `code_size: 32`: {error}"
        ) from error
