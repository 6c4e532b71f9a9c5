"""Recipes by name and from files."""

from dataclasses import replace

import numpy as np
import pytest

from aaelib.models.recipes import recipe


def test_text_and_numpy_s_numbers_are_read_by_the_type_of_their_entry():
    text = {
        "autoencoder_rate": "1e-3",
        "code_size": "8",
        "encoder": "64, 128",
        "decoder": "[32]",
        "encoder_points": "null",
        "shared_pass": "false",
    }
    read = recipe("compact", **text, n_points=np.int64(64), beta_1=np.float32(0.5))
    assert (read.autoencoder_rate, read.code_size) == (1e-3, 8)
    assert (read.encoder, read.decoder, read.encoder_points) == ((64, 128), (32,), None)
    assert (read.shared_pass, read.n_points, read.beta_1) == (False, 64, 0.5)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mine.yaml"


def test_a_file_changes_its_base_and_options_change_the_file(file):
    file.write_text("base: paper\ncode_size: 32\nautoencoder_rate: 1e-5\n")
    expected = replace(recipe("paper", code_size=16, autoencoder_rate=1e-5), name="mine")
    assert recipe(file, code_size="16") == expected


def test_defaults_change_the_base_but_neither_file_nor_options(file):
    file.write_text("autoencoder_rate: 1e-5\n")
    defaults = {"autoencoder_rate": 0.0, "finetuning_rate": 0.0, "linear_models": 1}
    read = recipe(file, defaults, linear_models=3)
    assert (read.autoencoder_rate, read.finetuning_rate, read.linear_models) == (1e-5, 0.0, 3)
    assert recipe("compact", defaults).autoencoder_rate == 0


def test_a_file_names_its_recipe(file):
    file.write_text("name: 3\n")
    assert (recipe(file).name, recipe(file, name="mine").name) == ("3", "mine")


# Each line holds the one before twice: a kilobyte becomes 2^40 entries.
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i + 1}: &a{i + 1} {{<<: [*a{i}, *a{i}]}}\n" for i in range(40)
)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("- 1\n", "does not hold YAML"),
        ("encoder: [\n", "does not hold YAML"),
        ("code_sise: 3\n", "code_sise is 3: no such entry; accepted: .*'code_size'"),
        ("self: 3\n", "self is 3: no such entry"),
        ("base: huge\n", "there is no 'huge'; accepted: .*'paper'"),
        ("encoder: 64, fast\n", r"encoder\.1 is ' fast': input should be a valid integer"),
        (f"encoder: {101 * [8]}\n", r"encoder is .*: tuple should have at most 100 items"),
        (MERGES, "could not determine a constructor for .*merge"),
        ("[" * 50_000, "is 50,000 bytes, and a recipe 20,000 at most"),
        ("adversarial: never\n", "adversarial is 'never': input should be 'cross-entropy' or"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(file, text, named):
    file.write_text(text)
    with pytest.raises(ValueError, match=rf"mine\.yaml.*{named}"):
        recipe(file)


def test_a_file_that_is_not_there_is_named(file):
    with pytest.raises(FileNotFoundError, match=r"mine\.yaml"):
        recipe(file)
