"""Downloads: checked before they are used, whole or not at all, and never outside their folder."""

import shutil
import signal
import subprocess
import sys
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trimesh
from analytic import socket
from pooch import file_hash
from serving import serving

from aaelib.shapes import downloads, sources

DATA = sources.DATA
ADVICE = "files that came whole are kept.*run the same command again.*AAELIB_DATA"


def assert_the_next_run_works(home):
    """After a fault: nothing under the final name; then the download goes well."""
    assert not downloaded(home)
    assert downloads.download_modelnet(10) == home / "ModelNet10"
    assert len(list((home / "ModelNet10").rglob("*.off"))) == 2
    assert not list(home.glob(".*"))


@pytest.fixture
def server(tmp_path, monkeypatch):
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")
    # A download that fails is tried again, some seconds later.
    monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))
    with serving(tmp_path / "served") as served:
        yield served


@pytest.fixture
def published(server, home, monkeypatch):
    """Three sockets, served as SocketSSM is, and their registry."""
    files = [server.folder / name for name in ("TF/a.npy", "TT/b.npy", "TT/c.npy")]
    for i, file in enumerate(files):
        file.parent.mkdir(exist_ok=True)
        np.save(file, socket().sample(2048, i))
    lines = [f"{f.relative_to(server.folder).as_posix()} sha256:{file_hash(f)}" for f in files]
    (home / "SocketSSM-registry.txt").write_text("\n".join(lines))
    monkeypatch.setattr(downloads, "_SOCKETSSM_URL", server.url)
    return server


@pytest.fixture
def modelnet(server, home, monkeypatch):
    """A zip archive laid out as ModelNet10's, served: `.publish(hash_of)` says another sha256."""

    def publish(hash_of=None):
        archive = server.folder / "ModelNet10.zip"
        box = trimesh.creation.icosphere(3).export(file_type="off")
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("ModelNet10/.DS_Store", "...")
            for part in ("train", "test"):
                file.writestr(f"ModelNet10/bathtub/{part}/bathtub_0001.off", box)
            file.writestr("__MACOSX/ModelNet10/._README.txt", "...")
        entry = (server.url, hash_of or file_hash(archive))
        monkeypatch.setitem(downloads._MODELNET, 10, entry)
        return archive

    server.publish = publish
    publish()
    return server


def downloaded(home):
    """Visible files and folders of the data folder that were not there before."""
    names = {file.name for file in home.iterdir() if not file.name.startswith(".")}
    return names - {"sockets", "SocketSSM-registry.txt"}


def test_sealed_sockets_and_those_of_the_stored_run_are_all_published_ones():
    lines = (DATA / "SocketSSM-registry.txt").read_text().splitlines()
    names, hashes = zip(*map(str.split, lines), strict=True)
    assert len(set(names)) == len(set(hashes)) == 200
    assert {len(found) for found in hashes} == {len("sha256:") + 64}
    splits = pd.read_csv(Path(__file__).parent / "reference" / "default" / "splits.csv")
    seen = splits.socket.str.split("/").str[1].unique().tolist()
    assert len(sources.SEALED) == 20
    assert sorted(seen + sources.SEALED) == sorted(Path(name).stem for name in names)


def test_downloaded_sockets_are_the_published_ones(published, home):
    assert downloads.download_sockets() == home / "SocketSSM"
    shapes = sources.load_sockets()
    assert (shapes.source, list(shapes.names)) == ("SocketSSM", ["TF/a", "TT/b", "TT/c"])
    np.testing.assert_array_equal(shapes.points[2], socket().sample(2048, 2))
    assert not list(home.glob(".*"))
    # What is there is not downloaded again.
    downloads.download_sockets()
    assert len(published.requests) == 3


def test_files_that_have_come_are_not_asked_for_again(published, home):
    third = published.folder / "TT" / "c.npy"
    content = third.read_bytes()
    third.write_bytes(b"something else")
    with pytest.raises(OSError, match=rf"(?s)SocketSSM is not downloaded \(.*c\.npy.*{ADVICE}"):
        downloads.download_sockets()
    assert not downloaded(home)
    assert sources.load_sockets(limit=1).source == sources.BUNDLED_SOCKETS
    third.write_bytes(content)
    published.requests.clear()
    folder = downloads.download_sockets()
    assert published.requests == ["/TT/c.npy"]
    assert len(list(folder.rglob("*.npy"))) == 3
    # A folder that lacks files gets these; one that somebody changed is not replaced.
    (folder / "TT" / "c.npy").unlink()
    published.faults.append({"cut": 100})
    downloads.download_sockets()
    assert set(published.requests) == {"/TT/c.npy"}
    np.save(folder / "TT" / "c.npy", socket().sample(2048, 9))
    with pytest.raises(FileExistsError, match=r"c\.npy is not the published .*move it away"):
        downloads.download_sockets()
    np.testing.assert_array_equal(np.load(folder / "TT" / "c.npy"), socket().sample(2048, 9))


@pytest.mark.parametrize(
    ("name", "n_points", "published_still"),
    [
        (None, 0, True),  # a part of the published ones
        ("TT/c.npy", 2048, False),  # a changed file
        ("TF/invented.npy", 2048, False),
    ],
)
def test_only_published_files_are_named_so(published, home, name, n_points, published_still):
    folder = downloads.download_sockets()
    (folder / "TT" / "b.npy").unlink()
    if name is not None:
        (folder / name).parent.mkdir(exist_ok=True)
        np.save(folder / name, socket().sample(n_points, 7))
    source = "SocketSSM" if published_still else f"sockets of {folder}"
    assert sources.load_sockets().source == source
    # Also where the other socket is not among those that are asked for.
    assert sources.load_sockets("TF", limit=1).source == source
    if published_still:
        assert sources.load_sockets(source="SocketSSM").source == source
    else:
        with pytest.raises(ValueError, match=r"1 of . sockets are not those of SocketSSM, such as"):
            sources.load_sockets(source="SocketSSM")


def test_a_downloaded_modelnet_is_a_corpus(modelnet, home):
    assert_the_next_run_works(home)
    corpus = sources.load_corpus(n_points=16)
    assert corpus.source == "ModelNet10"
    assert list(corpus.names) == ["bathtub/test/bathtub_0001", "bathtub/train/bathtub_0001"]
    downloads.download_modelnet(10)
    assert modelnet.requests == ["/ModelNet10.zip"]
    with pytest.raises(ValueError, match="no ModelNet20; accepted: 10 and 40"):
        downloads.download_modelnet(20)


@pytest.mark.parametrize("fault", [{"status": 503}, {"cut": 20_000}, {"hash": "0" * 64}])
def test_a_download_that_fails_is_tried_again_and_then_named(modelnet, home, fault):
    modelnet.faults += 3 * [fault]
    if "hash" in fault:
        modelnet.publish(hash_of=fault["hash"])
    with pytest.raises(OSError, match=rf"(?s)ModelNet10 is not downloaded \(.*{ADVICE}"):
        downloads.download_modelnet(10)
    assert len(modelnet.requests) == 3
    assert not list(home.rglob("*.off"))
    modelnet.publish()
    modelnet.faults += [fault]
    assert_the_next_run_works(home)


DOWNLOAD = """
import sys
from pathlib import Path
from aaelib.shapes import downloads
downloads.DOWNLOADS = Path(sys.argv[1])
downloads._MODELNET[10] = tuple(sys.argv[2:])
downloads.download_modelnet(10)
"""


def test_a_killed_download_leaves_nothing_that_is_taken_for_shapes(modelnet, home):
    modelnet.faults.append({"cut": 20_000, "hold": True})
    arguments = (str(home), *downloads._MODELNET[10])
    process = subprocess.Popen([sys.executable, "-c", DOWNLOAD, *arguments])
    try:
        deadline = time.monotonic() + 60
        while not modelnet.requests and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(RuntimeError, match="ModelNet10 is in use by another process"):
            downloads.download_modelnet(10)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert_the_next_run_works(home)


def test_what_was_unpacked_by_half_is_unpacked_again(modelnet, home):
    work = home / ".ModelNet10"
    half = work / "unpacked" / "ModelNet10" / "bathtub" / "test" / "bathtub_0001.off"
    half.parent.mkdir(parents=True)
    half.write_text("OFF")
    shutil.copy(modelnet.folder / "ModelNet10.zip", work)
    assert_the_next_run_works(home)
    assert not modelnet.requests
    assert half.name in {f.name for f in (home / "ModelNet10").rglob("*") if f.stat().st_size > 9}
