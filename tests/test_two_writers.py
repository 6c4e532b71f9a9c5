"""Two who write the same at once: no answer is lost, and no file or folder is half of each."""

import functools
import hashlib
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
from serving import serving

from aaelib.apps import assessment, outputs
from aaelib.shapes import downloads
from aaelib.shapes.resampling import resample_tree
from aaelib.shapes.writing import replacing

ROUNDS = 200
SET = SimpleNamespace(seed=0, fingerprint="0a1b2c")
NAMES = "TT/a.npy", "TF/b.npy"


class Answers:
    """Ten files of answers, each of which is new for both."""

    def __init__(self, folder, url):
        self.folder = folder

    def file(self, number):
        return self.folder / f"{number % 10}.sqlite"

    def write(self, who, number):
        assessment.record(self.file(number), SET, f"{who}", 1 + number, "real", 1 + who)

    def check(self, number):
        answers = assessment.read_answers(self.file(number), SET)
        given = answers[answers.item == 1 + number].sort_values("assessor")
        assert given.assessor.tolist() == ["0", "1"]
        assert given.plausibility.tolist() == [1, 2]
        assert len(answers) == 2 * (1 + number // 10)


class Results:
    """A file of which every line says who wrote it."""

    def __init__(self, folder, url):
        self.folder, self.file = folder, folder / "table.csv"

    def write(self, who, number):
        with replacing(self.file) as temporary, temporary.open("w") as stream:
            for _ in range(300):
                print(who, number, file=stream, flush=True)

    def check(self, number):
        lines = self.file.read_text().splitlines()
        assert len(lines) == 300
        assert {*lines} in ({f"0 {number}"}, {f"1 {number}"})
        assert list(self.folder.iterdir()) == [self.file]


class Clouds:
    """A tree of clouds: as many points as the last one's settings say in all of them."""

    def __init__(self, folder, url):
        self.source, self.target = folder / "source", folder / "clouds"
        self.source.mkdir(exist_ok=True)
        for i in range(2):
            with replacing(self.source / f"{i}.npy") as temporary:
                np.save(temporary, np.random.default_rng(i).normal(size=(50, 3)))

    def write(self, who, number):
        resample_tree(self.source, self.target, 20 + who + 2 * (number % 2))

    def check(self, number):
        sizes = {len(np.load(self.target / f"{i}.npy")) for i in range(2)}
        assert len(sizes) == 1
        assert sizes.pop() - 2 * (number % 2) in (20, 21)


class Samples:
    """A folder of samples, all of one model."""

    def __init__(self, folder, url):
        self.folder = folder / "new"
        outputs.load_with_card = lambda model: [model]

    def write(self, who, number):
        cloud = np.full((4, 3), 2 * number + who)
        model = SimpleNamespace(sample=lambda n, seed: np.stack([cloud] * n))
        outputs.generate(model, 3 + who, self.folder, overwrite=True)

    def check(self, number):
        found = [np.load(file)[0, 0] for file in self.folder.glob("*.npy")]
        who = found[0] - 2 * number
        assert found == [2 * number + who] * (3 + who)


class Downloads:
    """Two files that are served; who comes second is told so, or finds them."""

    def __init__(self, folder, url):
        self.folder, self.url = folder, url
        self.known = {name: hashlib.sha256(name.encode()).hexdigest() for name in NAMES}

    def write(self, who, number):
        downloads.DOWNLOADS = self.folder / str(number)
        with suppress(RuntimeError):
            downloads._download("Two", self.url, self.known)

    def check(self, number):
        whole = self.folder / str(number) / "Two"
        assert {name: (whole / name).read_text() for name in NAMES} == {n: n for n in NAMES}
        assert list(whole.parent.iterdir()) == [whole]


@pytest.fixture
def url(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(tmp_path_factory.mktemp("server") / "served") as served:
        for name in NAMES:
            (served.folder / name).parent.mkdir()
            (served.folder / name).write_text(name)
        yield served.url


def write(shared, folder, url, barrier, who):
    """Write in each round at the same time as the other one; the first then looks at it."""
    shared = shared(folder, url)
    for number in range(ROUNDS):
        barrier.wait(60)
        shared.write(who, number)
        barrier.wait(60)
        if who == 0:
            shared.check(number)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [Answers, Results, Clouds, Samples, Downloads])
@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_200_rounds_of_two_writers_lose_and_mix_nothing(tmp_path, monkeypatch, url, shared, kind):
    monkeypatch.setattr(outputs, "load_with_card", outputs.load_with_card)
    monkeypatch.setattr(downloads, "DOWNLOADS", downloads.DOWNLOADS)
    if kind == "threads":
        one = functools.partial(write, shared, tmp_path, url, threading.Barrier(2))
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(one, range(2))) == [None, None]
    else:
        context = multiprocessing.get_context("spawn")
        arguments = shared, tmp_path, url, context.Barrier(2)
        both = [context.Process(target=write, args=(*arguments, who)) for who in range(2)]
        for process in both:
            process.start()
        for process in both:
            process.join()
        assert [process.exitcode for process in both] == [0, 0]
