"""What the study trains: sets of sockets, recipes, starts, and each run once."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import yaml
from analytic import sockets
from test_training import changed_networks

from aaelib.metrics.reconstruction import reconstruction_chamfer
from aaelib.models import autoencoder, recipes
from aaelib.models.starts import Start
from aaelib.shapes import folders, sources
from aaelib.shapes.shape_model import ShapeModel
from aaelib.study import baselines, checks, conditions, evaluation, workspace
from aaelib.study.conditions import BEST, CONDITIONS

SMALL = {"n_points": 32, "encoder": [8, 8], "decoder": [8], "discriminator": [8]}
CHANGES = {"code_size": 4, "encoder_points": None, "refinement_steps": 1, "finetuning_steps": 1}
SMOKE = yaml.safe_load((workspace.PROFILES / "smoke.yaml").read_text())
PROFILE = SMOKE | {
    "splits": [0, 1],
    "sockets": SMOKE["sockets"] | {"scans": {"TT": 12, "TF": 8}},
    "recipe": {"name": "compact", "changes": SMALL | CHANGES},
    "transfer": SMOKE["transfer"] | {"epochs": 1},
    "original": SMOKE["original"] | {"changes": SMALL | {"code_size": 5}},
    "few_scans": [8, 12],
    "frozen_to": ["point_1", "point_2"],
    "code_sizes": [3, 6],
    "evaluation": {"draws": 2, "emd_points": 0},  # 32 points make no surface
}


def here(function, tasks, seconds, what):
    """`side_by_side` in this process."""
    return [function(*task) for task in tasks]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study of 24 and 21 analytic sockets, of which 12 and 8 are the scans, with shape models."""
    root = tmp_path_factory.mktemp("study")
    profiles = root / "notebooks" / "profiles"
    profiles.mkdir(parents=True)
    (profiles / "quick.yaml").write_text(yaml.safe_dump(PROFILE))
    surfaces = [*sockets(24), *sockets(21, seed=1, length=320)]
    points = np.stack([surface.vertices.reshape(-1, 3)[5::9] for surface in surfaces])
    kinds = np.array(["TT"] * 24 + ["TF"] * 21)
    shapes = folders.Shapes(points, np.arange(45).astype(str), kinds, "analytic sockets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace, "ROOT", root)
        patch.setattr(workspace, "PROFILES", profiles)
        made = workspace.Study("quick", "03_transfer_learning")
        made.save_sockets(shapes, surfaces)
        quick = lambda some, *args, **kwargs: ShapeModel.fit(some, n_modes=2)  # noqa: E731
        patch.setattr(conditions, "transported", quick)
        # In another process nothing would be replaced.
        patch.setattr(conditions, "side_by_side", here)
        patch.setattr(conditions, "n_processes", lambda n_tasks: 1)
        conditions.fit_shape_models(made)
        yield made


@pytest.fixture
def parameters(made, monkeypatch):
    """The study's parameters, to change for one test."""
    monkeypatch.setattr(made, "parameters", dict(made.parameters))
    return made.parameters


# What there is to train


def test_each_condition_is_run_once_on_each_split_in_a_file_of_its_own(made):
    listed = conditions.runs(made)
    names = [(condition.name, each.seed) for each, condition in listed]
    # 7 conditions twice; 2 frozen, 2 code sizes, 2 sets of sockets and an MMD once.
    assert len(set(names)) == len(names) == 7 * 2 + 7
    assert {(name, seed) for name in CONDITIONS for seed in (0, 1)} < set(names)
    paths = {conditions.path_of(each, condition) for each, condition in listed}
    assert len(paths | {made.model_path("pretrained")}) == len(listed) + 1
    assert all(path.stem.replace("_", "").isalnum() for path in paths)


def test_the_factors_are_all_combinations_of_augmentation_and_transfer():
    combinations = {(c.augmented, c.transferred) for c in conditions.FACTORS}
    assert len(combinations) == len(conditions.FACTORS) == 4
    # Nothing else differs between them.
    plain = [replace(c, name="", augmented=True, transferred=False) for c in conditions.FACTORS]
    assert plain == [plain[0]] * 4


def test_an_ablation_varies_one_thing_and_names_its_values(made):
    ablations = conditions.ablations(made)
    sizes = {n: conditions.study_recipe(made, c) for n, c in ablations["code size"].items()}
    assert [(n, recipe.code_size) for n, recipe in sizes.items()] == [(4, 4), (3, 3), (6, 6)]
    frozen = ablations["frozen layers"].values()
    assert [c.frozen for c in frozen] == [{}, {"encoder": "point_1"}, {"encoder": "point_2"}]
    sets = conditions.socket_sets(made)
    sizes = {n: len(sets[condition.sockets]) for n, condition in ablations["sockets"].items()}
    assert list(sizes) == sorted(sizes.values()) == [8, 12, 20, 30]
    pushed = ablations["pushed to the prior by"]
    assert {name: conditions.study_recipe(made, c).matching for name, c in pushed.items()} == {
        "critic": "discriminator",
        "mmd": "mmd",
    }


def test_a_profile_without_ablations_trains_the_conditions_alone(made, parameters):
    parameters |= {"few_scans": [], "frozen_to": [], "code_sizes": [], "pushed_by": {}}
    names = [condition.name for each, condition in conditions.runs(made) if not each.seed]
    assert names == list(CONDITIONS)
    found = conditions.ablated(made, {name: [] for name in CONDITIONS})
    assert list(found) == ["sockets: 20", "sockets: 30"]


# Sockets


def test_sets_of_sockets_are_nested_and_apart_from_validation_and_test(made, parameters):
    shapes, _, split = made.load_sockets()
    sets = conditions.socket_sets(made)
    ordered = [set(sets[name]) for name in ("8 scans", "12 scans", "scans", "training")]
    assert len(sets) == 4
    assert all(smaller < larger for smaller, larger in pairwise(ordered))
    assert all((np.diff(index) > 0).all() for index in sets.values())
    held_out = {*split["validation"], *split["test"]}
    assert not held_out & ordered[-1]
    assert held_out | ordered[-1] == set(range(45))
    # Kinds in proportion.
    counts = {name: np.sum(shapes.kinds[index] == "TT") for name, index in sets.items()}
    assert [len(each) for each in ordered[:3]] == [8, 12, 20]
    assert (counts["8 scans"], counts["12 scans"], counts["scans"]) == (5, 7, 12)
    # Fewer than three of a kind would leave a shape model one mode or none.
    parameters["few_scans"] = [1]
    index = conditions.socket_sets(made)["1 scans"]
    assert sorted(shapes.kinds[index]) == ["TF"] * 3 + ["TT"] * 3


def test_shape_models_are_those_of_the_set(made):
    shapes, _, _ = made.load_sockets()
    for name, index in conditions.socket_sets(made).items():
        loaded = conditions.load_shape_models(made, name)
        assert {kind: model.n_surfaces_ for kind, model in loaded.items()} == {
            kind: np.sum(shapes.kinds[index] == kind) for kind in sources.KINDS
        }
    # One that is not there is fitted.
    conditions.shape_models_path(made, "training", "TT").unlink()
    again = conditions.load_shape_models(made, "training")["TT"]
    np.testing.assert_array_equal(again.mean_, loaded["TT"].mean_)


def test_shape_models_are_fitted_again_only_to_other_sockets(made, monkeypatch):
    monkeypatch.setattr(conditions, "transported", None)
    conditions.fit_shape_models(made)
    note = conditions.shape_models_path(made, "scans", "TF").with_suffix(".json")
    note.write_text('{"fingerprint": "of others"}')
    with pytest.raises(TypeError):
        conditions.fit_shape_models(made)
    assert not note.exists()  # what was cut off is done again


# Recipes


def test_recipes_are_the_studys_but_for_the_changes(made):
    plain = conditions.study_recipe(made, CONDITIONS["neither"])
    assert (plain.n_points, plain.code_size, plain.encoder) == (32, 4, (8, 8))
    started = conditions.study_recipe(made, CONDITIONS["shape-model start"])
    rates = {"autoencoder_rate": 3e-5, "generator_rate": 3e-4, "finetuning_rate": 1e-4}
    assert started == replace(plain, **rates, generator_weight=0)
    condition = conditions.Condition(
        "c", start="shape models", changes={"autoencoder_rate": 1.0, "code_size": 2}
    )
    changed = conditions.study_recipe(made, condition)
    assert changed == replace(started, autoencoder_rate=1.0, code_size=2)
    original = conditions.study_recipe(made, CONDITIONS["original recipe"])
    assert original == recipes.recipe("paper", **PROFILE["original"]["changes"])


# Starts


def begin(made, condition):
    """The model that training starts from."""
    shapes, _, _ = made.load_sockets()
    points = shapes.points[conditions.socket_sets(made)[condition.sockets]]
    start = conditions.start(made, condition)
    return start.begin(points, conditions.study_recipe(made, condition)), points


def test_a_start_at_shape_models_is_made_once_and_kept_as_it_is(made, monkeypatch):
    condition = CONDITIONS[BEST]
    kept, points = begin(made, condition)
    models = tuple(conditions.load_shape_models(made, "training").values())
    direct = Start(decoder="shape models", shape_models=models, steps=3, limit=2.5)
    expected = direct.begin(points, kept.recipe, seed=0)
    monkeypatch.setattr("aaelib.models.starts.descend", None)
    for aae in (kept, begin(made, condition)[0]):
        assert (aae.scale, aae.frozen) == (expected.scale, {})
        assert changed_networks(aae, expected) == []


def test_a_transferred_start_has_the_pretrained_weights_and_its_frozen_layers(made):
    pretrained = autoencoder.AdversarialAutoencoder(conditions.study_recipe(made), seed=9)
    pretrained.compile()
    pretrained.save(made.model_path("pretrained"))
    aae, _ = begin(made, conditions.ablations(made)["frozen layers"]["encoder to point_1"])
    alone, _ = begin(made, CONDITIONS["neither"])
    assert "encoder" not in changed_networks(aae, pretrained)
    assert "encoder" in changed_networks(alone, pretrained)
    assert "decoder" not in changed_networks(aae, alone)
    assert aae.frozen == {"encoder": "point_1"}


# Training and evaluation


@pytest.fixture(scope="module", params=[BEST, "original recipe"])
def trained(made, request):
    """A condition with its run."""
    condition = CONDITIONS[request.param]
    return condition, conditions.train(made, condition)


@pytest.fixture
def idle(monkeypatch):
    """Fail where anything is trained or encoded."""
    for name in ("fit", "codes"):
        monkeypatch.setattr(autoencoder.AdversarialAutoencoder, name, None)
    monkeypatch.setattr("aaelib.models.starts.descend", None)


def test_a_condition_is_trained_once(made, trained, idle):
    condition, run = trained
    assert len(run.history) == (1 if condition.name == BEST else 2)
    assert run.path == conditions.path_of(made, condition)
    known = {"source": "analytic sockets", "condition": condition.name, "seed": 0}
    assert known.items() <= run.card.items()
    assert run.model.recipe == conditions.study_recipe(made, condition)
    again = conditions.train(made, condition)
    assert changed_networks(run.model, again.model) == []


def test_an_evaluation_is_what_the_model_does_and_is_made_once(made, trained, monkeypatch, request):
    condition, run = trained
    unseen, aae = conditions.unseen_sockets(made), run.model
    kinds = [True] if condition.start == "scan" else [True, False]
    evaluated = [conditions.evaluate(made, condition, each) for each in kinds]
    points = unseen.points
    draws = [aae.sample(len(points), seed) for seed in (1000, 1001)]
    first = aae.encode(points, refinement_steps=0)
    one_pass = aae.reconstruct(points, codes=first)
    expected = unseen.evaluate(aae.reconstruct(points), draws, one_pass)
    expected |= {"codes": aae.encode(points), "one_pass_codes": first, "samples": draws[0]}
    assert {*evaluation.METRICS} < expected.keys() < evaluated[0].keys()
    np.testing.assert_equal({name: evaluated[0][name] for name in expected}, expected)
    # A second time nothing is trained, refined or loaded; another model has a card of its own.
    request.getfixturevalue("idle")
    monkeypatch.setattr(conditions, "load", None)
    again = [conditions.evaluate(made, condition, each) for each in kinds]
    np.testing.assert_equal(again, evaluated)
    monkeypatch.setattr(conditions, "card_of", lambda path: {"fingerprint": "another"})
    with pytest.raises(TypeError):
        conditions.evaluate(made, condition)


def test_baselines_are_evaluated_once_for_a_number_of_draws(made, parameters, monkeypatch):
    parameters["evaluation"] = {"draws": 1, "emd_points": 0}
    found = {name: conditions.evaluate_baseline(made, name) for name in baselines.NAMES}
    assert {each["jsd"].shape for each in found.values()} == {(1,)}
    monkeypatch.setattr(evaluation.Unseen, "evaluate", None)
    again = conditions.evaluate_baseline(made, baselines.FLOOR)
    np.testing.assert_array_equal(again["jsd"], found[baselines.FLOOR]["jsd"])
    parameters["evaluation"] = {"draws": 2, "emd_points": 0}
    with pytest.raises(TypeError):
        conditions.evaluate_baseline(made, baselines.FLOOR)


def test_every_run_and_every_start_at_shape_models_is_evaluated(made, monkeypatch, capsys):
    monkeypatch.setattr(conditions, "train", lambda study, condition: condition.name)
    monkeypatch.setattr(conditions, "evaluate", lambda study, condition, trained=True: study.seed)
    monkeypatch.setattr(conditions, "evaluate_baseline", lambda study, name: study.seed)
    monkeypatch.setattr(conditions.training, "step_seconds", lambda recipe, batch_size: 60.0)
    new = [each for each in conditions.runs(made) if not conditions.path_of(*each).exists()]
    trained = conditions.train_all(made)
    steps = [conditions.budget(made, condition) for _, condition in new]
    taken = [s["steps"] + s["steps_after"] for s in steps]
    taken += [s["steps_before"] for s, (_, c) in zip(steps, new, strict=True) if not c.transferred]
    said = capsys.readouterr().err
    assert f"{len(new)} models to train: about {sum(taken)} min here" in said
    assert trained == {(c.name, each.seed): c.name for each, c in conditions.runs(made)}
    found = conditions.evaluate_all(made)
    both = {*CONDITIONS, *conditions.BEFORE.values(), *baselines.NAMES}
    assert {name for name, results in found.items() if results == [0, 1]} == both
    others = {name for name, seed in trained if name not in CONDITIONS}
    assert {name for name, results in found.items() if results == [0]} == others


def test_sealed_sockets_meet_the_models_and_linear_models_of_every_split(made, monkeypatch):
    surfaces = [*sockets(2, seed=5), *sockets(2, seed=6, length=320)]
    points = np.stack([surface.sample(200) for surface in surfaces])
    held = folders.Shapes(points, np.array(list("abcd")), np.repeat(["TT", "TF"], 2), "sealed")
    monkeypatch.setattr(checks, "load_sockets", lambda sealed: held)
    monkeypatch.setattr(checks, "fit_surfaces", lambda points: surfaces)
    monkeypatch.setattr(checks, "load", lambda path: path.stem)
    monkeypatch.setattr(checks, "measure", lambda aae, unseen, seeds: aae)
    monkeypatch.setattr(checks.tables, "summary", lambda found: found)
    found, count = checks.sealed(made)
    assert count == 4
    *models, linear = found.values()
    assert [*found] == [*CONDITIONS, baselines.LINEAR_ALL_SOCKETS]
    paths = [[conditions.path_of(each, c) for each in made.splits()] for c in CONDITIONS.values()]
    assert models == [[path.stem for path in of_one] for of_one in paths]
    assert [result["jsd"].shape for result in linear] == [(2,), (2,)]


def test_validation_errors_have_a_row_for_each_run(made, parameters, trained, monkeypatch):
    condition, run = trained
    parameters["splits"] = [0]
    monkeypatch.setattr(conditions, "CONDITIONS", {condition.name: condition})
    (row,) = conditions.on_validation(made, {(condition.name, 0): run}).to_dict("records")
    shapes, _, split = made.load_sockets()
    points = shapes.points[split["validation"]]
    error = reconstruction_chamfer(points, run.model.reconstruct(points)).mean()
    assert (row["condition"], row["split"]) == (condition.name, 0)
    assert row["best_epoch"] == run.best_epoch
    steps = (3, 3, 1) if condition.name == BEST else (0, 2, 0)
    assert (row["steps_before"], row["steps"], row["steps_after"]) == steps
    assert row["validation_chamfer"] == error == row["gap"] * row["trained_chamfer"]
    assert row["validation_jsd"] == pytest.approx(run.history.val_jsd[run.best_epoch], abs=0.1)


class Noisy:
    """In place of a model: with noise codes shrink, and so do the sockets that they decode to."""

    noise = 3e-6
    recipe = recipes.recipe()

    def encode(self, points):
        return np.full((len(points), 16), 0.3 / (1 + 1e5 * self.noise))

    def reconstruct(self, points, codes):
        return points * (0.85 + 0.5 * codes[0, 0])


def test_noise_trades_accuracy_for_plausibility(made, monkeypatch):
    monkeypatch.setattr(checks, "load", lambda path: Noisy())
    table = checks.trade_off(made)
    assert list(table.index[2:]) == ["1e-07", "1e-06", checks.CHOSEN, "1e-05", "0.0001"]
    assert table.noise.is_monotonic_increasing
    assert table.inside_95.is_monotonic_increasing
    assert table.surface_mm.is_monotonic_increasing


def test_a_learning_curve_is_of_the_first_split_and_of_other_models(made, monkeypatch):
    monkeypatch.setattr(checks.baselines, "linear", lambda *_: (2.0, ()))
    monkeypatch.setattr(checks.baselines, "nearest_known", lambda *_: (3.0, ()))
    monkeypatch.setattr(evaluation.Unseen, "evaluate", lambda _, error, draws: result(error))

    def result(error):
        return {"chamfer": np.array([0.0, error]), "surface_mm": np.array([error, 2 * error])}

    varied = conditions.ablations(made)["sockets"]
    evaluated = {c.name: [result(n), result(0.0)] for n, c in varied.items()}
    curve = checks.fewer_sockets(made, evaluated)
    others = [baselines.LINEAR, "nearest socket"]
    assert list(curve.model) == ["AAE"] * 4 + others * 4
    assert list(curve.sockets) == [8, 12, 20, 30, 8, 8, 12, 12, 20, 20, 30, 30]
    assert list(curve.surface_mm[:4]) == [12, 18, 30, 45]
    assert set(curve.surface_mm[4:]) == {3, 4.5}
