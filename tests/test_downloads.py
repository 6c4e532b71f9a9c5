"""Downloads survive what goes wrong on the way: each fault is named, and the next run goes on."""

import hashlib
import http.server
import os
import resource
import shutil
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
import types
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import trimesh
from analytic import socket

from aaelib.shapes import downloads, places, sources
from aaelib.shapes.writing import locked

BUNDLE = sources.DATA / "sockets"
ADVICE = "run the same command again"
HALF = 2 * downloads._CHUNK  # of the archive below, about


def cloud(seed=0):
    return socket().sample(2048, seed)


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves files and parts of them (RFC 9110), but for the server's faults, one a request."""

    def do_GET(self):
        fault = self.server.faults.pop(0) if self.server.faults else {}
        self.server.requests.append((self.path, self.headers["Range"], self.headers["If-Range"]))
        if "stall" in fault:
            self.server.released.wait(20)
            return
        if "status" in fault:
            return self.send_error(fault["status"])
        file = self.server.folder / self.path.lstrip("/")
        if not file.is_file():
            return self.send_error(404)
        self.send_file(file.read_bytes(), **fault)

    def send_file(self, content, cut=None, hold=False, tagged=True, ranges=True, shift=0):
        tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        start = self.first_byte(tag, ranges)
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header(
                "Content-Range", f"bytes {start + shift}-{len(content) - 1}/{len(content)}"
            )
        if tagged:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:cut])
        if hold:
            self.wfile.flush()
            self.server.released.wait(20)

    def first_byte(self, tag, ranges):
        same = self.headers["If-Range"] in (None, tag)
        asked = self.headers["Range"] if ranges and same else None
        return int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0

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


def visible(folder):
    return {file.name for file in folder.iterdir() if not file.name.startswith(".")}


# SocketSSM


@pytest.fixture
def published(server, home, monkeypatch):
    """Three sockets, served as SocketSSM is, and their registry."""
    files = [server.folder / name for name in ("TF/a.npy", "TT/b.npy", "TT/c.npy")]
    for i, file in enumerate(files):
        file.parent.mkdir(exist_ok=True)
        np.save(file, cloud(seed=i))
    lines = [f"{f.relative_to(server.folder).as_posix()} sha256:{sha256(f)}" for f in files]
    (home / "SocketSSM-registry.txt").write_text("\n".join(lines))
    monkeypatch.setattr(downloads, "_SOCKETSSM_URL", server.url)
    return server


def test_the_registry_lists_all_published_sockets():
    lines = (BUNDLE.parent / "SocketSSM-registry.txt").read_text().splitlines()
    names, hashes = zip(*map(str.split, lines), strict=True)
    assert len(set(names)) == len(set(hashes)) == 200
    assert sum(name.startswith("TT/") for name in names) == 100
    assert sum(name.startswith("TF/") for name in names) == 100
    assert {len(found) for found in hashes} == {len("sha256:") + 64}


def test_downloaded_sockets_are_the_published_ones(published, home):
    assert downloads.download_sockets() == home / "SocketSSM"
    shapes = sources.load_sockets()
    assert shapes.source == "SocketSSM"
    assert list(shapes.names) == ["TF/a", "TT/b", "TT/c"]
    np.testing.assert_array_equal(shapes.points[2], cloud(seed=2))
    assert not list(home.glob(".*"))
    # What is there is not downloaded again.
    downloads.download_sockets()
    assert len(published.requests) == 3


def test_a_file_with_another_hash_is_refused(published, home):
    np.save(published.folder / "TT" / "b.npy", cloud(seed=9))
    found = sha256(published.folder / "TT" / "b.npy")
    with pytest.raises(OSError, match=rf"TT/b\.npy: .* sha256 {found}, expected .*{ADVICE}"):
        downloads.download_sockets()
    assert visible(home) == {"sockets", "SocketSSM-registry.txt"}
    assert sources.load_sockets(limit=1).source == sources.BUNDLED_SOCKETS
    # It would be the same once more: it is not asked for again.
    assert [path for path, _, _ in published.requests].count("/TT/b.npy") == 1


def test_files_that_have_come_are_not_asked_for_again(published, home):
    content = (published.folder / "TT" / "c.npy").read_bytes()
    (published.folder / "TT" / "c.npy").unlink()
    with pytest.raises(OSError, match=r"TT/c\.npy: the server answers 404 .*AAELIB_DATA"):
        downloads.download_sockets()
    assert not (home / "SocketSSM").exists()
    (published.folder / "TT" / "c.npy").write_bytes(content)
    published.requests.clear()
    downloads.download_sockets()
    assert published.requests == [("/TT/c.npy", None, None)]
    assert len(list((home / "SocketSSM").rglob("*.npy"))) == 3


def test_what_killed_downloads_leave_is_no_part_of_the_sockets(published, home):
    leftovers = home / ".SocketSSM" / "SocketSSM" / "TT"
    leftovers.mkdir(parents=True)
    for name in ("tmp8x2k", ".c.npy.part", ".c.npy.version", "d.npy"):
        (leftovers / name).write_bytes(b"left")
    downloads.download_sockets()
    files = {file.name for file in (home / "SocketSSM").rglob("*") if file.is_file()}
    assert files == {"a.npy", "b.npy", "c.npy"}


# ModelNet: the table of faults


@pytest.fixture
def modelnet(server, home, monkeypatch):
    """A zip archive laid out as ModelNet10's, served, with what a Mac leaves in one."""

    def publish(hash_of=None, **members):
        archive = server.folder / "ModelNet10.zip"
        box = trimesh.creation.icosphere(3).export(file_type="off")
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("ModelNet10/README.txt", "...")
            file.writestr("ModelNet10/.DS_Store", "...")
            file.writestr("ModelNet10/bathtub/._train", "...")
            for part in ("train", "test"):
                file.writestr(f"ModelNet10/bathtub/{part}/bathtub_0001.off", box)
            file.writestr("__MACOSX/ModelNet10/._README.txt", "...")
        monkeypatch.setitem(
            downloads._MODELNET, 10, (f"{server.url}ModelNet10.zip", hash_of or sha256(archive))
        )
        return archive

    publish()
    server.publish = publish
    server.size = (server.folder / "ModelNet10.zip").stat().st_size
    assert 1.5 * HALF < server.size < 4 * HALF
    return server


def assert_nothing_is_there_and_the_next_run_works(server, home):
    """After a fault: nothing under the final name; then the download goes well."""
    assert visible(home) == {"sockets"}
    server.faults.clear()
    assert downloads.download_modelnet(10) == home / "ModelNet10"
    assert {file.name for file in home.iterdir()} == {"sockets", "ModelNet10"}
    files = sorted(
        file.relative_to(home).as_posix()
        for file in (home / "ModelNet10").rglob("*")
        if file.is_file()
    )
    assert files == [
        "ModelNet10/README.txt",
        "ModelNet10/bathtub/test/bathtub_0001.off",
        "ModelNet10/bathtub/train/bathtub_0001.off",
    ]


def test_a_downloaded_modelnet_is_a_corpus(modelnet, home):
    assert_nothing_is_there_and_the_next_run_works(modelnet, home)
    corpus = sources.load_corpus(n_points=16)
    assert corpus.source == "ModelNet10"
    assert list(corpus.names) == ["bathtub/test/bathtub_0001", "bathtub/train/bathtub_0001"]
    downloads.download_modelnet(10)
    assert modelnet.requests == [("/ModelNet10.zip", None, None)]


def test_another_modelnet_than_10_and_40_is_refused():
    with pytest.raises(ValueError, match="no ModelNet20; accepted: 10 and 40"):
        downloads.download_modelnet(20)


def test_an_archive_with_another_hash_is_refused(modelnet, home):
    modelnet.publish(hash_of="0" * 64)
    with pytest.raises(OSError, match=rf"ModelNet10\.zip: .* sha256 \w+, expected 0+\b.*{ADVICE}"):
        downloads.download_modelnet(10)
    assert len(modelnet.requests) == 1
    modelnet.publish()
    assert_nothing_is_there_and_the_next_run_works(modelnet, home)


def test_an_archive_that_is_not_there_is_named(modelnet, home):
    (modelnet.folder / "ModelNet10.zip").unlink()
    with pytest.raises(OSError, match=r"ModelNet10\.zip: the server answers 404 .*AAELIB_DATA"):
        downloads.download_modelnet(10)
    assert len(modelnet.requests) == 1
    modelnet.publish()
    assert_nothing_is_there_and_the_next_run_works(modelnet, home)


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_is_asked_again(modelnet, home, status):
    modelnet.faults += 4 * [{"status": status}]
    with pytest.raises(ConnectionError, match=rf"ModelNet10\.zip: .*{status}.*{ADVICE}"):
        downloads.download_modelnet(10)
    modelnet.faults += 3 * [{"status": status}]
    downloads.download_modelnet(10)
    assert len(modelnet.requests) == 8


def test_a_body_shorter_than_announced_is_an_error_each_time(modelnet, home):
    modelnet.faults += 4 * [{"cut": HALF, "ranges": False}]
    with pytest.raises(ConnectionError, match=rf"ModelNet10\.zip: .* 4 attempts .*{ADVICE}"):
        downloads.download_modelnet(10)
    assert len(modelnet.requests) == 4
    assert_nothing_is_there_and_the_next_run_works(modelnet, home)


@pytest.mark.parametrize("tagged", [True, False])
def test_after_a_lost_connection_only_the_rest_is_asked_for(modelnet, home, tagged):
    tag = f'"{sha256(modelnet.folder / "ModelNet10.zip")[:8]}"' if tagged else None
    modelnet.faults += [{"cut": HALF, "tagged": tagged}, {"tagged": tagged}]
    assert downloads.download_modelnet(10) == home / "ModelNet10"
    assert modelnet.requests == [
        ("/ModelNet10.zip", None, None),
        ("/ModelNet10.zip", f"bytes={HALF}-", tag),
    ]


def test_a_server_that_sends_no_parts_is_read_from_the_start(modelnet, home):
    modelnet.faults += [{"cut": HALF}, {"ranges": False}]
    assert_after_faults_it_is_complete(modelnet, home)
    assert len(modelnet.requests) == 2


def test_a_file_that_changed_between_two_attempts_is_read_from_the_start(modelnet, home):
    modelnet.faults += 4 * [{"cut": HALF}]
    with pytest.raises(ConnectionError):
        downloads.download_modelnet(10)
    # Another archive now, and another entity tag.
    with zipfile.ZipFile(modelnet.folder / "ModelNet10.zip", "a") as file:
        file.writestr("ModelNet10/more.txt", "...")
    new = modelnet.folder / "ModelNet10.zip"
    downloads._MODELNET[10] = (downloads._MODELNET[10][0], sha256(new))
    downloads.download_modelnet(10)
    assert (home / "ModelNet10" / "more.txt").exists()


def test_a_part_that_is_not_the_one_asked_for_is_not_used(modelnet, home):
    modelnet.faults += [{"cut": HALF}, {"shift": 1}]
    assert_after_faults_it_is_complete(modelnet, home)
    assert [asked for _, asked, _ in modelnet.requests] == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize("size", [HALF, 10**6])
def test_a_partial_file_of_something_else_is_not_trusted(modelnet, home, size):
    work = home / ".ModelNet10"
    work.mkdir()
    (work / ".ModelNet10.zip.part").write_bytes(size * b"x")
    assert_after_faults_it_is_complete(modelnet, home)
    assert [asked for _, asked, _ in modelnet.requests] == [f"bytes={size}-", None]


def assert_after_faults_it_is_complete(server, home):
    downloads.download_modelnet(10)
    assert len(list((home / "ModelNet10").rglob("*.off"))) == 2
    assert visible(home) == {"sockets", "ModelNet10"}


@pytest.mark.parametrize("fault", [{"stall": True}, {"cut": HALF, "hold": True}])
def test_a_server_that_falls_silent_is_not_waited_for(modelnet, home, monkeypatch, fault):
    monkeypatch.setattr(downloads, "_TIMEOUT", (5, 0.2))
    modelnet.faults += 4 * [fault]
    with pytest.raises(ConnectionError, match=rf"ModelNet10\.zip: .*timed out.*{ADVICE}"):
        downloads.download_modelnet(10)
    assert_nothing_is_there_and_the_next_run_works(modelnet, home)


def test_a_server_that_is_not_there_is_named(modelnet, home):
    address, digest = downloads._MODELNET[10]
    downloads._MODELNET[10] = ("http://127.0.0.1:9/ModelNet10.zip", digest)
    with pytest.raises(ConnectionError, match=rf"127\.0\.0\.1:9/ModelNet10\.zip: .*{ADVICE}"):
        downloads.download_modelnet(10)
    downloads._MODELNET[10] = (address, digest)
    assert_nothing_is_there_and_the_next_run_works(modelnet, home)


DOWNLOAD = """
import sys
from pathlib import Path
from aaelib.shapes import downloads
downloads.DOWNLOADS = Path(sys.argv[1])
downloads._MODELNET[10] = tuple(sys.argv[2:])
downloads.download_modelnet(10)
"""


def start_download(home):
    arguments = (str(home), *downloads._MODELNET[10])
    return subprocess.Popen([sys.executable, "-c", DOWNLOAD, *arguments])


def wait_for(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("nothing came")


def test_a_killed_download_goes_on_in_the_next_process(modelnet, home):
    modelnet.faults.append({"cut": HALF, "hold": True})
    process = start_download(home)
    try:
        wait_for(lambda: any(f.stat().st_size == HALF for f in home.rglob(".*.part")))
        with pytest.raises(RuntimeError, match="ModelNet10 is in use by another process"):
            downloads.download_modelnet(10)
    finally:
        process.kill()
        process.wait()
    modelnet.requests.clear()
    assert_nothing_is_there_and_the_next_run_works(modelnet, home)
    assert [asked for _, asked, _ in modelnet.requests] == [f"bytes={HALF}-"]


def test_a_download_killed_after_its_last_byte_is_not_repeated(modelnet, home):
    work = home / ".ModelNet10"
    work.mkdir()
    shutil.copy(modelnet.folder / "ModelNet10.zip", work / ".ModelNet10.zip.part")
    assert_nothing_is_there_and_the_next_run_works(modelnet, home)
    assert [asked for _, asked, _ in modelnet.requests] == [f"bytes={modelnet.size}-"]


def test_a_process_killed_while_it_unpacks_leaves_nothing_behind(modelnet, home):
    work = home / ".ModelNet10"
    for folder in (work / ".unpacking-x1" / "ModelNet10" / "chair", work / "ModelNet10" / "sofa"):
        folder.mkdir(parents=True)
        (folder / "half.off").write_text("OFF")
    shutil.copy(modelnet.folder / "ModelNet10.zip", work / "ModelNet10.zip")
    assert_nothing_is_there_and_the_next_run_works(modelnet, home)
    assert not modelnet.requests


def test_what_another_process_finished_meanwhile_is_not_downloaded_again(
    modelnet, home, monkeypatch
):
    taken = []

    @contextmanager
    def after_another(path, patience):
        """The lock is free as the other process has just ended."""
        with locked(path, patience):
            taken.append(path)
            (home / "ModelNet10" / "bathtub").mkdir(parents=True)
            yield

    monkeypatch.setattr(downloads, "locked", after_another)
    assert downloads.download_modelnet(10) == home / "ModelNet10"
    assert taken == [home / "ModelNet10"]
    assert modelnet.requests == []
    assert {file.name for file in home.iterdir()} == {"sockets", "ModelNet10"}


def test_an_archive_goes_when_its_folder_is_there(modelnet, home):
    work = home / ".ModelNet10"
    for folder in (work, home / "ModelNet10"):
        folder.mkdir()
    shutil.copy(modelnet.folder / "ModelNet10.zip", work)
    with locked(home / "ModelNet10"):  # another process removes it
        assert downloads.download_modelnet(10) == home / "ModelNet10"
        assert work.is_dir()
    assert downloads.download_modelnet(10) == home / "ModelNet10"
    assert {file.name for file in home.iterdir()} == {"sockets", "ModelNet10"}
    assert modelnet.requests == []


# The disk


@pytest.fixture
def small_disk():
    """No file can have more bytes than given: a write that fails for real."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_while_downloading_is_named(modelnet, home, small_disk):
    small_disk(modelnet.size // 2)
    with pytest.raises(OSError, match=rf"\.ModelNet10\.zip\.part can't be written.*{ADVICE}"):
        downloads.download_modelnet(10)
    assert len(modelnet.requests) == 1
    small_disk(resource.RLIM_INFINITY)
    assert_nothing_is_there_and_the_next_run_works(modelnet, home)


def test_a_disk_that_fills_up_while_unpacking_is_named(modelnet, home, small_disk):
    archive = modelnet.folder / "ModelNet10.zip"
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("ModelNet10/sofa/large.off", np.arange(50_000).tobytes())
    downloads._MODELNET[10] = (downloads._MODELNET[10][0], sha256(archive))
    small_disk(archive.stat().st_size + 1)
    with pytest.raises(OSError, match=rf"large\.off can't be written.*{ADVICE}"):
        downloads.download_modelnet(10)
    assert not list(home.rglob("*.off"))
    small_disk(resource.RLIM_INFINITY)
    modelnet.requests.clear()
    downloads.download_modelnet(10)
    assert (home / "ModelNet10" / "sofa" / "large.off").stat().st_size == 400_000
    assert not modelnet.requests


@pytest.mark.parametrize("packed", [False, True])
def test_what_would_not_fit_is_not_begun(modelnet, home, monkeypatch, packed):
    if packed:
        (home / ".ModelNet10").mkdir()
        shutil.copy(modelnet.folder / "ModelNet10.zip", home / ".ModelNet10")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
        with pytest.raises(OSError, match=rf"\.ModelNet10: 0 MB are needed and 0 MB.*{ADVICE}"):
            downloads.download_modelnet(10)
    assert not [f for f in home.rglob(".*.part") if f.stat().st_size]
    assert_nothing_is_there_and_the_next_run_works(modelnet, home)


# Archives


def pack(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        for member, content in members:
            file.writestr(member, content)
    return path


def assert_refused(archive, message):
    before = set(archive.parent.rglob("*"))
    with pytest.raises(ValueError, match=rf"(?s)bad\.zip: .*{message}.*get it again"):
        downloads.unpack(archive, archive.parent / "new")
    assert set(archive.parent.rglob("*")) == before


def test_an_archive_is_unpacked_with_its_folders(tmp_path):
    members = [("new/a/b/c.txt", "text"), ("new/..d.txt", "text"), ("new/e f/", "")]
    downloads.unpack(pack(tmp_path / "good.zip", members), tmp_path / "there" / "new")
    found = {f.relative_to(tmp_path / "there").as_posix() for f in (tmp_path / "there").rglob("*")}
    assert found == {"new", "new/a", "new/a/b", "new/a/b/c.txt", "new/..d.txt", "new/e f"}
    assert (tmp_path / "there" / "new" / "a" / "b" / "c.txt").read_text() == "text"


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    archive = pack(tmp_path / "good.zip", [("new/a.txt", "text")])
    (tmp_path / "new").mkdir()
    with pytest.raises(FileExistsError, match="new is there already: remove it"):
        downloads.unpack(archive, tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize(
    "name",
    ["../evil", "new/a/../../evil", "new/../evil", "/new/evil", "new\\..\\evil", "C:/new/evil"],
)
def test_an_archive_that_would_write_elsewhere_is_not_unpacked(tmp_path, name):
    archive = pack(tmp_path / "bad.zip", [("new/good", "..."), (name, "...")])
    assert_refused(archive, "member '.*evil' would leave the folder")


@pytest.mark.parametrize("name", ["old/file", "file", "new"])
def test_an_archive_of_another_folder_is_not_unpacked(tmp_path, name):
    archive = pack(tmp_path / "bad.zip", [("new/good", "..."), (name, "...")])
    assert_refused(archive, f"member '{name}' is not in the one folder that was expected, new/")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_an_archive_with_links_or_devices_is_not_unpacked(tmp_path, kind):
    member = zipfile.ZipInfo("new/passwords")
    member.external_attr = (kind | 0o777) << 16
    archive = pack(tmp_path / "bad.zip", [("new/good", "..."), (member, "/etc/passwd")])
    assert_refused(archive, "member 'new/passwords' is a link or a device; accepted: files and")


def test_an_archive_that_unpacks_to_much_more_than_its_size_is_not_unpacked(tmp_path):
    archive = pack(
        tmp_path / "bad.zip", [("new/bomb", bytes(10**7))], compression=zipfile.ZIP_DEFLATED
    )
    assert_refused(archive, r"would unpack from \d+ to 10000000 bytes; accepted: 100 times")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a zip file"),
        (b"<html>Moved</html>", "not a zip file"),
        ("no files", "has no files; expected the folder new/"),
        ("cut off", "not a zip file"),
        ("damaged", "Bad CRC-32 for file 'new/a.txt'"),
        ("misplaced", "(member 'new/a.txt' can't be read|offset)"),
        ("encrypted", "member 'new/a.txt' is encrypted"),
        ("unusual", "member 'new/a.txt' is compressed by method 14; accepted: 0"),
    ],
)
def test_what_is_no_archive_that_can_be_unpacked_is_named(tmp_path, content, message):
    archive = tmp_path / "bad.zip"
    packed = pack(archive, [("new/a.txt", "some text")]).read_bytes()
    made = {
        "no files": lambda: pack(archive, [("__MACOSX/._a", "")]).read_bytes(),
        "cut off": lambda: packed[:-30],
        "damaged": lambda: packed.replace(b"some text", b"same text"),
        # Its directory says that it is further on than it is: members begin before the file.
        "misplaced": lambda: packed[:-6] + (99).to_bytes(4, "little") + packed[-2:],
        # Of the flags in the central directory, after the versions, bit 0.
        "encrypted": lambda: packed.replace(b"\x14\x03\x14\0\0", b"\x14\x03\x14\0\1"),
        "unusual": lambda: pack(
            archive, [("new/a.txt", "some text")], compression=zipfile.ZIP_LZMA
        ).read_bytes(),
    }
    archive.write_bytes(content if isinstance(content, bytes) else made[content]())
    assert_refused(archive, message)


def test_memory_does_not_grow_with_the_size_of_an_archive(tmp_path):
    size = 40_000_000
    content = np.random.default_rng(0).bytes(size)
    archive = pack(tmp_path / "large.zip", [("new/large", content)])
    del content
    tracemalloc.start()
    try:
        downloads.unpack(archive, tmp_path / "new")
        assert tracemalloc.get_traced_memory()[1] < size / 10
    finally:
        tracemalloc.stop()
    assert os.path.getsize(Path(tmp_path) / "new" / "large") == size
