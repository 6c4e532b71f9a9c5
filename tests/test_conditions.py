"""What the study trains: sets of sockets, recipes, starts, and each run once."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from analytic import sockets

from aaelib.models import autoencoder, networks, recipes
from aaelib.shapes import folders, sources, splits
from aaelib.shapes.shape_model import ShapeModel
from aaelib.study import conditions, workspace

PROFILE = {
    "seed": 3,
    "seeds": [0, 1],
    "ablation_seeds": [0],
    "recipe": {
        "name": "compact",
        "changes": {
            "n_points": 32,
            "code_size": 4,
            "encoder": [8, 8],
            "decoder": [8],
            "discriminator": [8],
            "encoder_points": None,
            "refinement_steps": 1,
            "finetuning_steps": 1,
        },
    },
    "transfer": {
        "epochs": 1,
        "steps_per_epoch": 2,
        "batch_size": 4,
        "first_selectable": 0,
        "share": 0.5,
        "limit": 2.0,
        "jitter": 0.01,
        "rotate": True,
    },
    "shape_model_start": {"steps": 2, "changes": {"autoencoder_rate": 0.0004}},
    "original": {
        "epochs": 1,
        "steps_per_epoch": 2,
        "first_selectable": 0,
        "changes": {"n_points": 32, "code_size": 5, "encoder": [8, 8], "decoder": [8]},
    },
    "few_scans": [8, 12],
    "frozen_to": ["point_1", "point_2"],
    "code_sizes": [3, 6],
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A study of 24 and 21 analytic sockets, of which 12 and 8 are the scans."""
    profiles = tmp_path / "notebooks" / "profiles"
    profiles.mkdir(parents=True)
    (profiles / "quick.yaml").write_text(yaml.safe_dump(PROFILE))
    monkeypatch.setattr(workspace, "ROOT", tmp_path)
    monkeypatch.setattr(workspace, "PROFILES", profiles)
    surfaces = [*sockets(24), *sockets(21, seed=1, length=320)]
    points = np.stack([surface.vertices.reshape(-1, 3)[5::9] for surface in surfaces])
    kinds = np.array(["TT"] * 24 + ["TF"] * 21)
    shapes = folders.Shapes(points, np.arange(45).astype(str), kinds, "analytic sockets")
    split = splits.split_sockets(shapes, {"TT": 12, "TF": 8})
    made = workspace.Study("quick", "03_transfer_learning")
    made.save_shapes("sockets", shapes, surfaces, split)
    return made


@pytest.fixture
def fitted(made):
    """The study with the shape models that notebook 01 writes."""
    shapes, surfaces, _ = made.load_shapes("sockets")
    for name, index in conditions.socket_sets(made).items():
        for kind in sources.KINDS:
            members = [surfaces[i] for i in index if shapes.kinds[i] == kind]
            path = conditions.shape_models_path(made, name, kind)
            ShapeModel.fit(members, n_modes=2).save(path)
    return made


def everything(made):
    """All conditions by name, those of the ablations too."""
    varied = [c for values in conditions.ablations(made).values() for _, c in values]
    return {c.name: c for c in (*conditions.CONDITIONS.values(), *varied)}


# What there is to train


def test_every_condition_has_a_file_name_of_its_own(made):
    named = everything(made)
    slugs = {condition.slug for condition in named.values()}
    assert len(slugs) == len(named)
    assert all(slug.replace("_", "").isalnum() for slug in slugs)
    paths = {made.model_path(c.slug, seed) for c, seed in conditions.runs(made)}
    assert len(paths) == len(conditions.runs(made))
    assert made.model_path("pretrained") not in paths


def test_the_factors_are_all_combinations_of_augmentation_and_transfer():
    combinations = {(c.augmented, c.transferred) for c in conditions.FACTORS}
    assert len(combinations) == len(conditions.FACTORS) == 4
    # Nothing else differs between them.
    plain = [replace(c, name="", augmented=True, transferred=False) for c in conditions.FACTORS]
    assert plain == [plain[0]] * 4


def test_each_condition_is_run_once_with_each_of_its_seeds(made):
    listed = [(condition.name, seed) for condition, seed in conditions.runs(made)]
    assert len(set(listed)) == len(listed)
    names = everything(made)
    expected = {(name, seed) for name in conditions.CONDITIONS for seed in (0, 1)}
    expected |= {(name, 0) for name in names if name not in conditions.CONDITIONS}
    assert set(listed) == expected
    # 7 conditions twice; 2 frozen, 2 code sizes and 2 sets of sockets once.
    assert len(listed) == 7 * 2 + 6


def test_an_ablation_varies_one_thing_and_names_its_values(made):
    ablations = conditions.ablations(made)
    assert [size for size, _ in ablations["code size"]] == [4, 3, 6]
    for size, condition in ablations["code size"]:
        assert conditions.study_recipe(made, condition).code_size == size
        assert (condition.start, condition.sockets) == ("shape models", "scans")
    frozen = [condition.frozen for _, condition in ablations["frozen layers"]]
    assert frozen == [{}, {"encoder": "point_1"}, {"encoder": "point_2"}]
    assert all(condition.transferred for _, condition in ablations["frozen layers"])
    sets = conditions.socket_sets(made)
    for n, condition in ablations["sockets"]:
        assert len(sets[condition.sockets]) == n
    assert [n for n, _ in ablations["sockets"]] == sorted(n for n, _ in ablations["sockets"])


# Sockets


def test_sets_of_sockets_are_nested_and_apart_from_validation_and_test(made):
    _, _, split = made.load_shapes("sockets")
    sets = conditions.socket_sets(made)
    assert set(sets) == {"8 scans", "12 scans", "scans", "training"}
    held_out = {*split["validation"], *split["test"]}
    for smaller, larger in (("8 scans", "12 scans"), ("12 scans", "scans"), ("scans", "training")):
        assert set(sets[smaller]) < set(sets[larger])
    for name, index in sets.items():
        assert (np.diff(index) > 0).all(), name
        assert not held_out & set(index), name
    assert held_out | set(sets["training"]) == set(range(45))


def test_sets_have_their_size_with_kinds_in_proportion(made):
    shapes, _, _ = made.load_shapes("sockets")
    sets = conditions.socket_sets(made)
    counts = {name: np.sum(shapes.kinds[index] == "TT") for name, index in sets.items()}
    assert {name: len(index) for name, index in sets.items() if name != "training"} == {
        "8 scans": 8,
        "12 scans": 12,
        "scans": 20,
    }
    assert (counts["8 scans"], counts["12 scans"], counts["scans"]) == (5, 7, 12)


def test_the_smallest_set_has_three_of_a_kind(made):
    """Fewer would leave a shape model one mode or none."""
    shapes, _, _ = made.load_shapes("sockets")
    made.parameters["few_scans"] = [1]
    index = conditions.socket_sets(made)["1 scans"]
    assert sorted(shapes.kinds[index]) == ["TF"] * 3 + ["TT"] * 3


def test_shape_models_are_those_of_the_set(fitted):
    shapes, _, _ = fitted.load_shapes("sockets")
    for name, index in conditions.socket_sets(fitted).items():
        loaded = conditions.load_shape_models(fitted, name)
        assert list(loaded) == list(sources.KINDS)
        for kind, model in loaded.items():
            assert model.n_surfaces_ == np.sum(shapes.kinds[index] == kind)


def test_shape_models_that_are_missing_say_what_writes_them(made):
    with pytest.raises(FileNotFoundError, match=r"shape_model_TT_scans\.npz; notebook 01"):
        conditions.load_shape_models(made)


# Recipes


def test_recipes_are_the_studys_but_for_the_changes(made):
    plain = conditions.study_recipe(made)
    assert (plain.n_points, plain.code_size, plain.encoder) == (32, 4, (8, 8))
    assert conditions.study_recipe(made, conditions.CONDITIONS["neither"]) == plain
    started = conditions.study_recipe(made, conditions.CONDITIONS["shape-model start"])
    assert started == replace(plain, autoencoder_rate=0.0004)
    condition = conditions.Condition(
        "c", start="shape models", changes={"autoencoder_rate": 1.0, "code_size": 2}
    )
    changed = conditions.study_recipe(made, condition)
    assert changed == replace(plain, autoencoder_rate=1.0, code_size=2)


def test_the_original_recipe_is_the_papers_whatever_the_studys(made):
    found = conditions.study_recipe(made, conditions.CONDITIONS["original recipe"])
    assert found == recipes.recipe("paper", **PROFILE["original"]["changes"])
    assert found.tnets
    assert {found.linear_models, found.refinement_steps, found.finetuning_steps} == {0}


# Starts


def same_weights(one, other, network):
    pairs = zip(getattr(one, network).weights, getattr(other, network).weights, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_a_start_at_a_scan_decodes_it(made):
    aae = conditions.before_training(made, conditions.CONDITIONS["neither"], seed=1)
    shapes, _, split = made.load_shapes("sockets")
    scan = shapes.points[split["scans"][0]]
    expected = (scan - scan.mean(axis=0))[:32]
    np.testing.assert_allclose(aae.decode(np.zeros((1, 4)))[0], expected, atol=1e-3)
    assert (aae.seed, aae.compiled) == (1, False)
    centred = shapes.points[split["scans"]]
    centred = centred - centred.mean(axis=1, keepdims=True)
    assert aae.scale == pytest.approx(np.linalg.norm(centred, axis=-1).max(), rel=1e-6)


def test_a_start_at_shape_models_decodes_them(fitted):
    aae = conditions.before_training(fitted, conditions.CONDITIONS["all training sockets"], seed=0)
    shape_models = conditions.load_shape_models(fitted, "training")
    for shape_model, first in zip(shape_models.values(), (-2, 2), strict=True):
        decoded = aae.decode(aae.recipe.prior_std * np.array([[first, 0, 1, 0]]))[0]
        mean, modes = shape_model.point_basis(32, n_patterns=1, seed=0)
        expected = mean[0] + modes[0, 1]
        expected = expected - expected.mean(axis=0)
        # Points are in another order: those of the kinds are paired.
        gaps = np.linalg.norm(decoded[:, None] - expected, axis=-1)
        assert gaps.min(axis=1).max() < 0.01
        assert gaps.min(axis=0).max() < 0.01


def test_a_transferred_start_has_the_pretrained_weights_and_its_frozen_layers(made):
    pretrained = autoencoder.AdversarialAutoencoder(conditions.study_recipe(made), seed=9)
    pretrained.compile()
    pretrained.save(made.model_path("pretrained"))
    condition = conditions.ablations(made)["frozen layers"][1][1]
    aae = conditions.before_training(made, condition, seed=0)
    assert same_weights(aae, pretrained, "encoder")
    assert same_weights(aae, pretrained, "discriminator")
    assert aae.frozen == {"encoder": "point_1"}
    alone = conditions.before_training(made, conditions.CONDITIONS["neither"], seed=0)
    assert not same_weights(aae, alone, "encoder")


# Training


@pytest.mark.parametrize("name", ["shape-model start", "original recipe"])
def test_a_condition_is_trained_once(fitted, monkeypatch, name):
    condition = conditions.CONDITIONS[name]
    run = conditions.train(fitted, condition, seed=0)
    assert (len(run.history), run.best_epoch) == (1, 0)
    assert run.path == fitted.model_path(condition.slug, 0)
    known = {"source": "analytic sockets", "condition": name, "seed": 0, "best_epoch": 0}
    assert known.items() <= run.card.items()
    assert run.model.recipe == conditions.study_recipe(fitted, condition)

    def fit(*args, **kwargs):
        raise AssertionError("it is trained already")

    monkeypatch.setattr(autoencoder.AdversarialAutoencoder, "fit", fit)
    again = conditions.train(fitted, condition, seed=0)
    assert all(same_weights(run.model, again.model, network) for network in networks.NETWORKS)


def test_every_run_of_the_study_is_trained(made, monkeypatch):
    monkeypatch.setattr(conditions, "train", lambda study, condition, seed: condition.slug)
    trained = conditions.train_all(made)
    assert trained == {(c.name, seed): c.slug for c, seed in conditions.runs(made)}


def test_errors_on_validation_sockets_have_a_row_for_each_run_of_a_condition(fitted):
    condition = conditions.CONDITIONS["shape-model start"]
    run = conditions.train(fitted, condition, seed=0)
    trained = {(condition.name, 0): run, ("code size 3", 0): None}
    (row,) = conditions.on_validation(fitted, trained).to_dict("records")
    assert (row["condition"], row["run"], row["best_epoch"]) == (condition.name, 0, 0)
    assert (row["steps_before"], row["steps"], row["steps_after"]) == (2, 2, 1)
    assert row["gap"] == row["validation_chamfer"] / row["trained_chamfer"]
    assert row["validation_jsd"] == pytest.approx(run.history.val_jsd[0], abs=0.1)
