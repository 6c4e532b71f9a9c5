"""Downloads: checked before they are used, whole or not at all, and never outside their folder."""

import hashlib
import http.server
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trimesh
from analytic import socket

from aaelib.shapes import downloads, places, sources

BUNDLE = sources.DATA / "sockets"
ADVICE = "files that came whole are kept.*run the same command again.*AAELIB_DATA"


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def assert_the_next_run_works(home):
    """After a fault: nothing under the final name; then the download goes well."""
    assert not downloaded(home)
    assert downloads.download_modelnet(10) == home / "ModelNet10"
    assert len(list((home / "ModelNet10").rglob("*.off"))) == 2
    assert not list(home.glob(".*"))


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves files, but for the server's faults, one a request."""

    def do_GET(self):
        fault = self.server.faults.pop(0) if self.server.faults else {}
        self.server.requests.append(self.path)
        file = self.server.folder / self.path.lstrip("/")
        if "status" in fault or not file.is_file():
            return self.send_error(fault.get("status", 404))
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: fault.get("cut")])
        self.wfile.flush()
        if "hold" in fault:
            self.server.released.wait(20)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder that is served on this machine: `.folder`, `.url`, `.faults`, `.requests`."""
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.folder, served.faults, served.requests = tmp_path / "served", [], []
    served.released = threading.Event()
    served.folder.mkdir()
    served.url = f"http://127.0.0.1:{served.server_port}/"
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")
    # A download that fails is tried again, some seconds later.
    monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.released.set()
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A data folder with the bundled default and nothing downloaded."""
    folder = tmp_path / "data"
    monkeypatch.setattr(sources, "DATA", folder)
    for module in (places, downloads):
        monkeypatch.setattr(module, "DOWNLOADS", folder)
    monkeypatch.delenv("AAELIB_DATA", raising=False)
    shutil.copytree(BUNDLE, folder / "sockets")
    return folder


@pytest.fixture
def published(server, home, monkeypatch):
    """Three sockets, served as SocketSSM is, and their registry."""
    files = [server.folder / name for name in ("TF/a.npy", "TT/b.npy", "TT/c.npy")]
    for i, file in enumerate(files):
        file.parent.mkdir(exist_ok=True)
        np.save(file, socket().sample(2048, i))
    lines = [f"{f.relative_to(server.folder).as_posix()} sha256:{sha256(f)}" for f in files]
    (home / "SocketSSM-registry.txt").write_text("\n".join(lines))
    monkeypatch.setattr(downloads, "_SOCKETSSM_URL", server.url)
    return server


@pytest.fixture
def modelnet(server, home, monkeypatch):
    """A zip archive laid out as ModelNet10's, served: `.publish(members)` changes it."""

    def publish(members=(), hash_of=None):
        archive = server.folder / "ModelNet10.zip"
        box = trimesh.creation.icosphere(3).export(file_type="off")
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("ModelNet10/.DS_Store", "...")
            for part in ("train", "test"):
                file.writestr(f"ModelNet10/bathtub/{part}/bathtub_0001.off", box)
            file.writestr("__MACOSX/ModelNet10/._README.txt", "...")
            for member in members:
                file.writestr(member, "/etc/passwd")
        entry = (server.url, hash_of or sha256(archive))
        monkeypatch.setitem(downloads._MODELNET, 10, entry)
        return archive

    server.publish = publish
    publish()
    return server


def downloaded(home):
    """Visible files and folders of the data folder that were not there before."""
    names = {file.name for file in home.iterdir() if not file.name.startswith(".")}
    return names - {"sockets", "SocketSSM-registry.txt"}


def test_the_registry_lists_all_published_sockets():
    lines = (BUNDLE.parent / "SocketSSM-registry.txt").read_text().splitlines()
    names, hashes = zip(*map(str.split, lines), strict=True)
    assert len(set(names)) == len(set(hashes)) == 200
    assert sum(name.startswith("TT/") for name in names) == 100
    assert {len(found) for found in hashes} == {len("sha256:") + 64}


def test_sealed_sockets_and_those_of_the_stored_run_are_all_published_ones():
    lines = (BUNDLE.parent / "SocketSSM-registry.txt").read_text().splitlines()
    published = [line.split()[0].removesuffix(".npy").split("/")[1] for line in lines]
    splits = pd.read_csv(Path(__file__).parent / "reference" / "default" / "splits.csv")
    seen = splits.socket.str.split("/").str[1].unique().tolist()
    assert len(sources.SEALED) == 20
    assert sorted(seen + sources.SEALED) == sorted(published)


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
    content = (published.folder / "TT" / "c.npy").read_bytes()
    (published.folder / "TT" / "c.npy").write_bytes(b"something else")
    with pytest.raises(OSError, match=rf"(?s)SocketSSM is not downloaded \(.*c\.npy.*{ADVICE}"):
        downloads.download_sockets()
    assert not downloaded(home)
    assert sources.load_sockets(limit=1).source == sources.BUNDLED_SOCKETS
    (published.folder / "TT" / "c.npy").write_bytes(content)
    published.requests.clear()
    downloads.download_sockets()
    assert published.requests == ["/TT/c.npy"]
    assert len(list((home / "SocketSSM").rglob("*.npy"))) == 3


def test_a_folder_that_lacks_files_gets_these_and_keeps_the_others(published, home):
    there = home / "SocketSSM" / "TT" / "b.npy"
    there.parent.mkdir(parents=True)
    shutil.copy(published.folder / "TT" / "b.npy", there)
    before = there.stat().st_ino
    published.faults.append({"cut": 100})
    downloads.download_sockets()
    assert sorted(set(published.requests)) == ["/TF/a.npy", "/TT/c.npy"]
    assert there.stat().st_ino == before
    assert len(list((home / "SocketSSM").rglob("*.npy"))) == 3
    # A file that somebody changed is not replaced by the published one.
    np.save(there, socket().sample(2048, 9))
    with pytest.raises(FileExistsError, match=r"b\.npy is not the published .*move it away"):
        downloads.download_sockets()
    np.testing.assert_array_equal(np.load(there), socket().sample(2048, 9))


@pytest.mark.parametrize(
    ("name", "n_points", "published_still"),
    [
        (None, 0, True),  # a part of the published ones
        ("TT/c.npy", 2048, False),  # a changed file
        ("TF/invented.npy", 2048, False),
        ("TT/more/b.npy", 2048, False),
    ],
)
def test_sockets_have_the_name_of_the_published_ones_only_if_all_files_are(
    published, home, name, n_points, published_still
):
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


@pytest.mark.parametrize("fault", [{"status": 503}, {"cut": 20_000}])
def test_a_download_that_fails_is_tried_again_and_then_named(modelnet, home, fault):
    modelnet.faults += 3 * [fault]
    with pytest.raises(OSError, match=rf"(?s)ModelNet10 is not downloaded \(.*{ADVICE}"):
        downloads.download_modelnet(10)
    assert len(modelnet.requests) == 3
    modelnet.faults += [fault]
    assert_the_next_run_works(home)


def test_an_archive_with_another_hash_is_not_unpacked(modelnet, home):
    modelnet.publish(hash_of="0" * 64)
    with pytest.raises(OSError, match=rf"(?s)hash.*expected 0+ .*{ADVICE}"):
        downloads.download_modelnet(10)
    assert not list(home.rglob("*.off"))
    modelnet.publish()
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


LINK = zipfile.ZipInfo("ModelNet10/link")
LINK.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    "member",
    ["../evil", "ModelNet10/../../evil", "/tmp/evil", "ModelNet10\\..\\..\\evil", "C:/evil", LINK],
)
def test_an_archive_does_not_leave_its_folder(modelnet, home, member):
    modelnet.publish([member])
    before = {file for file in home.parent.rglob("*") if home not in (file, *file.parents)}
    downloads.download_modelnet(10)
    after = {file for file in home.parent.rglob("*") if home not in (file, *file.parents)}
    assert (after, downloaded(home)) == (before, {"ModelNet10"})
    assert not any(file.is_symlink() for file in home.rglob("*"))
