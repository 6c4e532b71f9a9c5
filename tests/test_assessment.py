"""The single-blind test: who can tell real from generated sockets, and what gives nothing away."""

import json
import re
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from analytic import socket, sockets
from conftest import coordinates
from ipywidgets.embed import dependency_state

from aaelib.apps import assessment
from aaelib.apps.assessment import BlindSet
from aaelib.models import recipes
from aaelib.shapes.sockets import SocketSurface


class StandIn:
    """A model whose decoder knows some clouds by heart: a code is the number of one."""

    recipe = recipes.recipe("compact")

    def __init__(self, clouds, weight=1.0):
        self.clouds, self.decoder, self.weight = clouds, self, weight

    def draw_prior(self, n, seed):
        return np.random.default_rng(seed).permutation(len(self.clouds))[:n, None]

    def decode(self, codes):
        return self.clouds[codes[:, 0]]

    def get_weights(self):
        return [np.array([self.weight])]


@pytest.fixture(scope="module")
def clouds():
    return np.stack([surface.sample(256) for surface in sockets(4)])


def blind_set(surfaces, is_generated, seed=3, fingerprint="0a1b2c"):
    return BlindSet(tuple(surfaces), np.array(is_generated, bool), seed, fingerprint)


@pytest.fixture
def blind():
    return blind_set(sockets(4), [True, False, False, True])


@pytest.fixture
def file(tmp_path):
    return tmp_path / "assessment" / "answers.sqlite"


def answered(*rows):
    """Answers as they are read: (assessor, item, answer, plausibility) each."""
    columns = ["assessor", "item", "answer", "plausibility"]
    return pd.DataFrame(rows, columns=columns).assign(time="")


# The set --------------------------------------------------------------------------------------


def test_a_set_has_as_many_real_as_generated_sockets_and_none_twice(clouds):
    drawn = assessment.draw_set(clouds, StandIn(clouds * 2), 3, seed=0)
    assert (len(drawn), drawn.is_generated.sum()) == (6, 3)
    lengths = np.array([np.ptp(surface.vertices[..., 2]) for surface in drawn.surfaces])
    # Those generated are the ones of double size.
    assert lengths[drawn.is_generated].min() > 1.2 * lengths[~drawn.is_generated].max()
    assert len(set(lengths.round(6))) == 6


def test_order_and_choice_depend_on_the_seed_only(clouds):
    def truth(seed, points=clouds, decoded=clouds):
        return tuple(assessment.draw_set(points, StandIn(decoded), 3, seed).is_generated)

    assert truth(5) == truth(5, clouds[::-1] * 1.5, clouds * 2)
    assert len({truth(seed) for seed in range(3)}) > 1


def test_a_fingerprint_is_that_of_shapes_and_model(clouds):
    def fingerprint(points=clouds, weight=1.0, decoded=clouds):
        return assessment.draw_set(points, StandIn(decoded, weight), 2, seed=0).fingerprint

    # The last bits of what a decoder gives differ between machines.
    assert fingerprint() == fingerprint(decoded=np.nextafter(clouds, np.inf))
    assert len({fingerprint(), fingerprint(clouds + 1), fingerprint(weight=2.0)}) == 3


@pytest.mark.parametrize("n_points", [256, 128])
def test_a_model_of_the_real_sockets_gives_the_very_same_surfaces(clouds, n_points):
    """Even if it has fewer points: its surfaces are no smoother."""
    kept = np.random.default_rng([0, 2]).permutation(256)[:n_points] if n_points < 256 else ...
    drawn = assessment.draw_set(clouds, StandIn(clouds[:, kept]), 4, seed=0)
    real, generated = (
        sorted(drawn.surfaces[i].vertices.ravel().tolist() for i in np.flatnonzero(which))
        for which in (~drawn.is_generated, drawn.is_generated)
    )
    assert real == generated


def test_beside_samples_without_size_real_sockets_have_none_either(clouds):
    model = StandIn(clouds / 100)
    model.recipe = recipes.recipe("compact", normalization="unit-sphere")
    drawn = assessment.draw_set(clouds, model, 4, seed=0)
    reach = [np.abs(surface.vertices).max() for surface in drawn.surfaces]
    np.testing.assert_allclose(reach, 1, atol=0.2)


@pytest.mark.parametrize("n", [1, 5])
def test_a_set_has_no_more_real_sockets_than_there_are(clouds, n):
    with pytest.raises(ValueError, match=f"n is {n}; with 4 real sockets it can be 2 to 4"):
        assessment.draw_set(clouds, StandIn(clouds), n)


# The file of answers --------------------------------------------------------------------------


def rows(file, blind):
    return assessment.read_answers(file, blind).drop(columns="time").to_numpy().tolist()


def test_what_is_recorded_is_read_in_its_order_and_an_answer_stays(blind, file):
    assert rows(file, blind) == []
    assert not file.exists()
    given = [["A-1_b", 2, "real", 4], ["007", 1, "real", 3], ["A-1_b", 1, "generated", 1]]
    for answer in [*given, ["A-1_b", 2, "generated", 5]]:
        assessment.record(file, blind, *answer)
    assert rows(file, blind) == given
    # Answers to other sets are kept apart.
    for other in ({"seed": 4}, {"fingerprint": "001234567e89"}):
        assert rows(file, blind_set(blind.surfaces, blind.is_generated, **other)) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        *(({"assessor": each}, "letters") for each in ("", "Jane Doe", "a\nb", "ä", "a" * 41)),
        ({"item": 0}, "0, 'real', 3.*item >= 1"),
        ({"answer": "fake"}, "fake.*answer IN .'real', 'generated'"),
        ({"plausibility": 6}, "6.*plausibility IN .1, 2, 3, 4, 5"),
    ],
)
def test_what_is_no_answer_is_not_recorded(blind, file, changed, message):
    answer = {"assessor": "a", "item": 1, "answer": "real", "plausibility": 3}
    with pytest.raises(ValueError, match=message):
        assessment.record(file, blind, **answer | changed)
    assert rows(file, blind) == []


def test_a_file_that_is_not_of_answers_is_refused_and_left_alone(blind, tmp_path):
    file = tmp_path / "answers.csv"
    file.write_text("socket,length\na,3\n")
    for use in (assessment.read_answers, lambda *to: assessment.record(*to, "a", 1, "real", 3)):
        with pytest.raises(ValueError, match=r"answers\.csv: file is not a database"):
            use(file, blind)
    assert file.read_text() == "socket,length\na,3\n"


# The widget -----------------------------------------------------------------------------------


def started(blind, file, assessor="a"):
    box = assessment.widget(blind, file)
    _, text, start, _ = box.children
    text.value = assessor
    start.click()
    return box


def give(box, answer, score):
    *_, answers, scores, following = box.children
    answers.value, scores.value = answer, score
    following.click()


def shown(box):
    return coordinates(box.children[2].data[0])


def test_the_sockets_are_shown_one_after_the_other_and_answers_recorded(blind, file):
    box = started(blind, file)
    *_, answers, scores, following = box.children
    for item, surface in enumerate(blind.surfaces, start=1):
        message, progress, *_ = box.children
        assert message.value == f"Socket {item} of 4"
        assert (progress.value, progress.max) == (item - 1, 4)
        vertices = surface.mesh().vertices
        expected = vertices - (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        np.testing.assert_allclose(shown(box), expected, atol=1e-3)
        assert (answers.value, scores.value, following.disabled) == (None, None, True)
        answers.value = assessment.ANSWERS[item % 2]
        assert following.disabled
        scores.value = item
        following.click()
    assert rows(file, blind) == [["a", i, assessment.ANSWERS[i % 2], i] for i in (1, 2, 3, 4)]
    (message,) = box.children
    assert message.value.startswith("All 4 sockets are answered")


@pytest.mark.parametrize(("assessor", "shown", "done"), [("a", 2, 3), ("b", 1, 0)])
def test_an_assessor_goes_on_where_answers_are_missing(blind, file, assessor, shown, done):
    for item in (1, 3, 4):
        assessment.record(file, blind, "a", item, "real", 3)
    message, progress, *_ = started(blind, file, assessor).children
    assert (message.value, progress.value) == (f"Socket {shown} of 4", done)


def test_what_cannot_be_done_is_said_and_can_be_done_again(blind, file):
    box = started(blind, file, "Jane Doe")
    assert len(box.children) == 4
    assert "assessor id" in box.children[-1].value
    box.children[1].value = "a"
    box.children[2].click()
    file.parent.mkdir()
    file.write_text("notes")
    give(box, "real", 3)
    assert "file is not a database" in box.children[0].value
    file.unlink()
    box.children[-1].click()
    assert box.children[0].value == "Socket 2 of 4"


def state(box):
    """All that a browser is told of a widget and of what is in it, without random names."""
    text = json.dumps(list(dependency_state([box]).values()))
    return re.sub(r"IPY_MODEL_\w+|\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "", text)


def test_nothing_in_the_widget_tells_the_truth(blind, tmp_path):
    """What is shown before and after each answer is the same if the truth is the other way."""
    swapped = blind_set(blind.surfaces, ~blind.is_generated)
    pair = [started(b, tmp_path / f"{i}.csv") for i, b in enumerate((blind, swapped))]
    seen = set()
    for _ in blind.surfaces:
        assert state(pair[0]) == state(pair[1])
        seen.add(state(pair[0]))
        for box in pair:
            give(box, "real", 2)
    assert len(seen) == 4
    assert state(pair[0]) == state(pair[1])


def test_every_socket_is_shown_at_one_scale_where_none_gives_its_place_away(file):
    here = socket(150)
    there = SocketSurface(here.vertices + np.array([30.0, -20.0, 500.0]))
    box = started(blind_set([here, there, socket(300)], [0, 1, 1]), file)
    scene = box.children[2].layout.scene.to_plotly_json()
    first = shown(box)
    give(box, "real", 3)
    np.testing.assert_allclose(shown(box), first, atol=1e-3)
    give(box, "real", 3)
    assert box.children[2].layout.scene.to_plotly_json() == scene
    low, high = scene["zaxis"]["range"]
    assert low <= shown(box)[:, 2].min() < shown(box)[:, 2].max() <= high


# Analysis -------------------------------------------------------------------------------------


def test_accuracy_has_wilson_s_interval_and_the_exact_test():
    z2 = 1.959963984540054**2
    middle, half = (8 + z2 / 2) / (10 + z2), np.sqrt(z2 * (8 * 2 / 10 + z2 / 4)) / (10 + z2)
    # p is 2 (C(10, 8) + C(10, 9) + C(10, 10)) / 2^10.
    expected = {"accuracy": 0.8, "low": middle - half, "high": middle + half, "p": 112 / 1024}
    assert assessment.accuracy(8, 10) == pytest.approx(expected | {"n": 10})


def test_agreement_is_cohen_s_kappa_of_two_and_fleiss_kappa_of_more():
    # Items 1 and 2 alike, item 3 not: p = 2/3, p_e = 1/3 2/3 + 2/3 1/3. Item 4 does not count.
    pairs = [(1, "real", "real"), (2, "generated", "generated"), (3, "real", "generated")]
    two = [(who, item, a, 3) for item, *given in pairs for who, a in zip("ab", given, strict=True)]
    answers = answered(*two, ("a", 4, "real", 3))
    assert assessment.agreement(answers) == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    # A third one: P = (1 + 1 + 1/3) / 3, P_e = (5^2 + 4^2) / 9^2.
    third = [("c", item, a, 3) for item, a in enumerate(("real", "generated", "real"), start=1)]
    kappa = (7 / 9 - 41 / 81) / (1 - 41 / 81)
    assert assessment.agreement(answered(*two, *third)) == pytest.approx(kappa)


@pytest.mark.parametrize(
    "given", [[], [("a", 1, "real"), ("b", 2, "generated")], [("a", 1, "real"), ("b", 1, "real")]]
)
def test_agreement_that_is_not_defined_is_not_a_number(given):
    assert np.isnan(assessment.agreement(answered(*((*each, 3) for each in given))))


def test_plausibility_is_by_what_sockets_are_not_by_what_they_were_taken_for(blind):
    answers = answered(
        ("a", 1, "real", 5), ("a", 4, "generated", 3), ("b", 4, "real", 4), ("a", 2, "real", 2)
    )
    table = assessment.plausibility(assessment.judge(answers, blind))
    assert list(table.index) == ["real", "generated"]
    assert table.loc["generated"].tolist() == [4, 1, 3]
    assert table.loc["real", ["mean", "n"]].tolist() == [2, 1]
    assert np.isnan(table.loc["real", "sd"])


# The machines ---------------------------------------------------------------------------------

LABELS = np.arange(40) % 2 == 1


def by_machine(surfaces):
    blind = blind_set(surfaces, LABELS)
    with mock.patch.multiple(assessment, _N_POINTS=128, _N_PERMUTATIONS=49):
        return assessment.machine_counterpart(blind)


def test_machines_tell_longer_sockets_apart_and_not_those_of_one_distribution():
    table = by_machine(sockets(40, seed=1))
    assert (table.p > 0.05).all()
    assert ((table.low < 0.5) & (table.high > 0.5)).all()
    surfaces = [socket(300 if g else 150, wave=i / 10) for i, g in enumerate(LABELS)]
    table = by_machine(surfaces)
    assert (table.accuracy > 0.9).all()
    assert (table.p == 0.02).all()  # 1 of 50: the given labels alone


def test_the_classifier_sees_roughness_and_too_little_variety():
    rng, real = np.random.default_rng(0), sockets(40, seed=7)
    mean = np.mean([s.vertices for s in real], axis=0)
    rough = [SocketSurface(s.vertices + rng.normal(0, 0.2, s.vertices.shape)) for s in real]
    alike = [SocketSurface(mean + 0.2 * (s.vertices - mean)) for s in real]
    for generated in (rough, alike):
        pairs = zip(real, generated, LABELS, strict=True)
        row = by_machine([g if label else r for r, g, label in pairs]).loc["machine: classifier"]
        assert row.accuracy > 0.85
        assert row.p == 0.02


def test_copies_are_below_one_half_by_their_nearest_neighbour():
    surfaces = np.repeat(np.array(sockets(20, seed=3), object), 2)
    assert by_machine(surfaces).loc["machine: 1-NN", ["accuracy", "p"]].tolist() == [0, 0.02]


def test_machines_do_not_depend_on_where_sockets_are():
    surfaces = sockets(40, seed=4)
    moved = [SocketSurface(s.vertices + np.array([100.0, 0, -50.0])) for s in surfaces]
    np.testing.assert_allclose(assessment.features(moved), assessment.features(surfaces), atol=1e-6)


# Table and words ------------------------------------------------------------------------------


def test_each_assessor_has_a_row_all_have_one_and_machines_come_last(blind):
    machine = pd.DataFrame({"machine: 1-NN": assessment.accuracy(50, 90)}).T.assign(kappa=np.nan)
    given = [("b", item, "generated", 3) for item in (1, 2, 3, 4)]
    answers = answered(*given, ("a", 1, "generated", 3), ("a", 2, "real", 3))
    assert assessment.judge(answers, blind).truth.tolist()[:3] == ["generated", "real", "real"]
    assert list(assessment.results(answers[:0], blind, machine).index) == ["machine: 1-NN"]
    table = assessment.results(answers, blind, machine)
    assert list(table) == ["accuracy", "low", "high", "p", "n", "kappa"]
    assert list(table.index) == ["a", "b", assessment.POOLED, "machine: 1-NN"]
    assert table.accuracy.tolist() == pytest.approx([1, 0.5, 4 / 6, 50 / 90])
    assert table.n.tolist() == [2, 4, 6, 90]
    assert table.kappa.isna().tolist() == [True, True, False, True]


def test_words_hold_for_their_numbers():
    words = [assessment.verdict(pd.Series(assessment.accuracy(k, 90))) for k in (70, 48, 20)]
    assert [each.split()[0] for each in words] == ["told", "no", "wrong"]


def test_the_lowest_accuracy_that_is_told_from_guessing():
    """Of 6 answers all must be right: 2 / 2^6 = 0.03, but 14 / 2^6 = 0.22 for 5; 5 are too few."""
    assert assessment.detectable(6) == 1
    assert np.isnan(assessment.detectable(5))
    least = assessment.detectable(90)
    assert assessment.accuracy(round(90 * least), 90)["p"] < 0.05
    assert assessment.accuracy(round(90 * least) - 1, 90)["p"] >= 0.05
