"""Recipes by name and from files."""

from dataclasses import replace

import pytest

from aaelib.models.recipes import recipe


def test_text_is_read_by_the_type_of_its_entry():
    read = recipe(
        "compact",
        autoencoder_rate="1e-3",
        code_size="8",
        encoder="64, 128",
        decoder="[32]",
        encoder_points="null",
        shared_pass="false",
        decay="constant",
    )
    assert read == recipe(
        "compact",
        autoencoder_rate=1e-3,
        code_size=8,
        encoder=(64, 128),
        decoder=(32,),
        encoder_points=None,
        shared_pass=False,
        decay="constant",
    )


@pytest.mark.parametrize(
    ("entry", "text"), [("code_size", "[1"), ("autoencoder_rate", "fast"), ("encoder", "[:")]
)
def test_text_of_another_type_is_refused_by_name(entry, text):
    with pytest.raises(ValueError, match=rf"compact: {entry}(\.0)? is .* should "):
        recipe("compact", **{entry: text})


def test_a_file_changes_its_base_and_options_change_the_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: paper\ncode_size: 32\nautoencoder_rate: 1e-5\n")
    expected = replace(recipe("paper", code_size=16, autoencoder_rate=1e-5), name="mine")
    assert recipe(file, code_size="16") == expected


def test_defaults_change_the_base_but_neither_file_nor_options(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("autoencoder_rate: 1e-5\n")
    defaults = {"autoencoder_rate": 0.0, "finetuning_rate": 0.0, "linear_models": 1}
    read = recipe(file, defaults, linear_models=3)
    assert (read.autoencoder_rate, read.finetuning_rate, read.linear_models) == (1e-5, 0.0, 3)
    assert recipe("compact", defaults).autoencoder_rate == 0


def test_a_recipe_can_be_renamed(tmp_path):
    assert recipe("paper", name="mine") == replace(recipe("paper"), name="mine")
    file = tmp_path / "other.yaml"
    file.write_text("name: third\n")
    assert recipe(file).name == "third"
    assert recipe(file, name="mine").name == "mine"


def test_entries_with_names_of_parameters_are_unknown_like_others():
    with pytest.raises(ValueError, match="source is 'x': no such entry; accepted: "):
        recipe("compact", source="x")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("- 1\n", "does not hold YAML"),
        ("code_sise: 3\n", "code_sise"),
        ("base: huge\n", "huge"),
        ("encoder: [\n", "does not hold YAML"),
        ("adversarial: never\n", "never"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path, text, named):
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"wrong.yaml.*{named}"):
        recipe(file)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        recipe(tmp_path / "none.yaml")
