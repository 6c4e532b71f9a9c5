"""Download SocketSSM and ModelNet, whole or not at all."""

import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

import pooch
import requests
from tqdm.auto import tqdm

from .places import DATA, DOWNLOADS
from .writing import locked

_SOCKETSSM_URL = (
    "https://raw.githubusercontent.com/adapttech-ltd/SocketSSM/"
    "f118cbdce7fbde741601b9d03234ecb37cf9d2bd/"
)
_MODELNET = {
    10: (
        "http://3dvision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
        "9d8679435fc07d1d26f13009878db164a7aa8ea5e7ea3c8880e42794b7307d51",
    ),
    40: (
        "http://modelnet.cs.princeton.edu/ModelNet40.zip",
        "42dc3e656932e387f554e25a4eb2cc0e1a1bd3ab54606e2a9eae444c60e536ac",
    ),
}

_TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of an answer
_RETRIES = 3  # after a lost connection, some seconds apart; each goes on where the last one stopped
_CHUNK = 2**14  # bytes; a killed process loses fewer than these
_TRY_LATER = {408, 425, 429, 500, 502, 503, 504}  # what a server may answer otherwise next time
_MAX_RATIO = 100  # of unpacked to packed bytes; meshes as text come to 5, a zip bomb to 1000


def download_sockets():
    """
    Download SocketSSM (200 sockets, 10 MB, CC BY-SA 4.0) into `data/SocketSSM`.

    Every file is checked against its sha256. A download that was cut off, or whose process was
    killed, goes on where it stopped.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OSError
        If the server can't be reached, refuses a file or has another one, or the disk is full;
        `data/SocketSSM` is not there then.
    RuntimeError
        If another process is downloading it.
    """
    return _complete(DOWNLOADS / "SocketSSM", _fetch_sockets)


def download_modelnet(n_classes):
    """
    Download ModelNet10 (about 450 MB) or ModelNet40 (about 2 GB) into `data/`; academic use only.

    The archive is checked against its sha256. A download that was cut off, or whose process was
    killed, goes on where it stopped.

    Parameters
    ----------
    n_classes : {10, 40}

    Returns
    -------
    Path
        The folder, with one sub-folder a class, each with train/ and test/.

    Raises
    ------
    ValueError
        For another `n_classes`, or an archive that `unpack` refuses.
    OSError, RuntimeError
        As `download_sockets`.
    """
    if n_classes not in _MODELNET:
        raise ValueError(f"there is no ModelNet{n_classes}; accepted: 10 and 40")
    url, sha256 = _MODELNET[n_classes]
    return _complete(
        DOWNLOADS / f"ModelNet{n_classes}", lambda folder: _fetch_archive(url, sha256, folder)
    )


def unpack(archive, folder):
    """
    Unpack a zip archive that holds one folder, named as `folder` is, whole or not at all.

    What a Mac leaves in archives (``__MACOSX``, ``.DS_Store``, ``._*``) is left out. Memory does
    not grow with the size of the archive.

    Parameters
    ----------
    archive : str or Path
    folder : str or Path
        The folder to make; it must not exist yet.

    Raises
    ------
    FileExistsError
        If there is such a folder.
    ValueError
        If the file is not an archive or damaged, or has a member that is encrypted, a link, in
        another folder, or would be written outside of it, or if it unpacks to more than 100 times
        its size. The message names the archive and the member.
    OSError
        If the disk is full.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: remove it, then unpack {archive}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder.parent) as place:
        with _unpackable(archive) as file:
            members = _checked_members(file, folder.name)
            _check_space(folder.parent, sum(member.file_size for member in members))
            for member in tqdm(members, desc=f"unpacking {archive.name}", leave=False, delay=1):
                with _named_on_failure(folder.parent / member.filename):
                    _extract(file, member, Path(place))
        os.replace(Path(place) / folder.name, folder)


# Sources --------------------------------------------------------------------------------------


def _complete(folder, fill):
    """Let `fill(path)` make a folder, in a hidden one that is kept if it fails; return it."""
    work = folder.with_name(f".{folder.name}")
    if not folder.is_dir():
        with locked(folder, patience=0):
            if not folder.is_dir():  # another process may have made it meanwhile
                work.mkdir(exist_ok=True)
                fill(work / folder.name)
                os.replace(work / folder.name, folder)
    if work.is_dir():  # also that of a process which was killed before it came here
        # The folder is whole: who holds the lock removes the rest, and if nobody may, it stays.
        with suppress(RuntimeError, OSError), locked(folder, patience=0):
            shutil.rmtree(work)
    return folder


def _fetch_sockets(folder):
    """Download every file of the registry into a folder, and remove all others."""
    registry = pooch.create(folder, _SOCKETSSM_URL, retry_if_failed=_RETRIES)
    registry.load_registry(DATA / "SocketSSM-registry.txt")
    for name in tqdm(registry.registry, desc=folder.name):
        _fetch(registry, name)
    for file in folder.rglob("*"):  # what killed processes left
        if file.is_file() and file.relative_to(folder).as_posix() not in registry.registry:
            file.unlink()


def _fetch_archive(url, sha256, folder):
    """Download an archive beside `folder`, and unpack it."""
    name = f"{folder.name}.zip"
    registry = pooch.create(
        folder.parent,
        base_url="",
        registry={name: f"sha256:{sha256}"},
        urls={name: url},
        retry_if_failed=_RETRIES,
    )
    archive = _fetch(registry, name)
    for leftover in (folder, *folder.parent.glob(".unpacking-*")):  # of killed processes
        shutil.rmtree(leftover, ignore_errors=True)
    unpack(archive, folder)


# Downloads that go on where they stopped ------------------------------------------------------


def _fetch(registry, name):
    """Download a file of a registry if it is missing or wrong; return its path."""

    def download(url, output_file, _):
        partial = Path(output_file).with_name(f".{Path(name).name}.part")
        with _named_on_failure(partial):
            resumed = _receive(url, partial)
        _check_content(url, partial, registry.registry[name], resumed)
        os.replace(partial, output_file)

    try:
        return registry.fetch(name, downloader=download)
    except requests.RequestException as error:
        raise ConnectionError(
            f"{registry.get_url(name)}: not downloaded in {_RETRIES + 1} attempts ({error}); what "
            "has come is kept: check the network, then run the same command again, and it goes on "
            "from there"
        ) from error


def _receive(url, partial):
    """
    Download the rest of a file to `partial`, and return if it has bytes of an earlier answer.

    The server is asked for the missing part only (Range; RFC 9110, section 14), if the file is
    still the same (If-Range, section 13.1.5). A server that knows neither sends all of it. The
    version (an entity tag or a date) is kept beside `partial`.

    Raises a RequestException if another attempt may help, else an OSError.
    """
    version = partial.with_suffix(".version")
    start = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # of a compressed answer, no part would fit
    if start:
        headers["Range"] = f"bytes={start}-"
        if version.exists():
            headers["If-Range"] = version.read_text()
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == 416 and _total(response) == start:
            return True  # the process was killed after the last byte
        kept = _accepted_start(response, start)
        if kept is None:
            partial.unlink(missing_ok=True)
            raise requests.RequestException("the answer does not fit what came before")
        _remember_version(response, version)
        with partial.open("ab") as file:
            file.truncate(kept)
            _append(response, file, kept)
    return kept > 0


def _accepted_start(response, start):
    """
    Return the byte at which an answer begins, `start` or 0, or None for any other answer.

    Raises a RequestException if another attempt may help, else an OSError.
    """
    if response.status_code == 206:
        answered = re.fullmatch(r"bytes (\d+)-\d+/\S+", response.headers.get("Content-Range", ""))
        return start if answered and int(answered[1]) == start else None
    if response.status_code == 416:
        return None
    if response.status_code in _TRY_LATER:
        response.raise_for_status()
    if response.status_code != 200:
        raise OSError(
            f"{response.url}: the server answers {response.status_code} {response.reason}; "
            "expected the file (200). If it has been moved, get the shapes by hand from where "
            "they are now (see data/README.md) and name their folder in AAELIB_DATA"
        )
    return 0


def _total(response):
    """Get the size of the whole file, if an answer says it."""
    return _number(response.headers.get("Content-Range", "").rpartition("/")[2])


def _number(text):
    return int(text) if text.isdecimal() else None


def _remember_version(response, file):
    """Keep the version of the server's file; a weak entity tag is not one."""
    tag = response.headers.get("ETag", "W/")
    version = response.headers.get("Last-Modified") if tag.startswith("W/") else tag
    file.unlink(missing_ok=True)
    if version:
        file.write_text(version)


def _append(response, file, start):
    """Write the body of an answer to the end of a file that has `start` bytes."""
    rest = _number(response.headers.get("Content-Length", ""))
    _check_space(Path(file.name).parent, rest or 0)
    with tqdm(
        desc=PurePosixPath(response.url).name,
        initial=start,
        total=None if rest is None else start + rest,
        unit="B",
        unit_scale=True,
        leave=False,
        delay=1,
    ) as progress:
        # Raises ChunkedEncodingError, a RequestException, if less comes than Content-Length says.
        for chunk in response.iter_content(_CHUNK):
            file.write(chunk)
            file.flush()
            progress.update(len(chunk))


def _check_content(url, file, known_hash, resumed):
    """Remove a file whose sha256 is not the published one, and raise."""
    expected, found = known_hash.removeprefix("sha256:"), pooch.file_hash(str(file))
    if found == expected:
        return
    file.unlink()
    message = f"{url}: the file has sha256 {found}, expected {expected}"
    if resumed:
        raise requests.RequestException(f"{message}; it was put together from two answers")
    raise OSError(
        f"{message}. It was changed there or on its way, and is not kept: run the same command "
        "again later, or from another network"
    )


# Archives -------------------------------------------------------------------------------------


@contextmanager
def _unpackable(archive):
    """Open an archive, and turn its faults into a ValueError that names it."""
    try:
        with _opened(archive) as file:
            yield file
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(
            f"{archive}: {error}; not unpacked: remove it and get it again from where it was "
            "published"
        ) from error


def _opened(archive):
    try:
        return zipfile.ZipFile(archive)
    except OSError as error:
        if error.filename is not None:  # not there, or not to be read
            raise
        raise ValueError(f"damaged ({error})") from error  # it points to before its beginning


def _checked_members(file, top):
    """List the members of an open archive, without a Mac's; raise if one is wrong."""
    members = [member for member in file.infolist() if not _is_left_by_a_mac(member.filename)]
    if not members:
        raise ValueError(f"has no files; expected the folder {top}/")
    for member in members:
        if fault := _fault(member, top):
            raise ValueError(f"member {member.filename!r} {fault}")
    packed = Path(file.filename).stat().st_size
    unpacked = sum(member.file_size for member in members)
    if unpacked > _MAX_RATIO * packed:
        raise ValueError(
            f"would unpack from {packed} to {unpacked} bytes; accepted: {_MAX_RATIO} times as many"
        )
    return members


def _is_left_by_a_mac(name):
    path = PurePosixPath(name)
    return path.parts[:1] == ("__MACOSX",) or path.name == ".DS_Store" or path.name[:2] == "._"


def _fault(member, top):
    """Say what is wrong with a member of an archive that should hold the folder `top`, or None."""
    name, path = member.filename, PurePosixPath(member.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive:
        return "would leave the folder"
    if path.parts[:1] != (top,) or (path.parts == (top,) and not member.is_dir()):
        return f"is not in the one folder that was expected, {top}/"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device; accepted: files and folders"
    if member.flag_bits & 1:
        return "is encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by method {member.compress_type}; accepted: 0 (stored), 8 (deflate)"
    return None


def _extract(file, member, place):
    """Write a member of an open archive, piece by piece, below a folder."""
    target = place / member.filename
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as copy:
        copy.writelines(_pieces(file, member))


def _pieces(file, member):
    try:
        with file.open(member) as source:
            while piece := source.read(_CHUNK):
                yield piece
    except OSError as error:  # not to be taken for one of writing
        raise ValueError(f"member {member.filename!r} can't be read ({error})") from error


# The disk -------------------------------------------------------------------------------------


def _check_space(folder, needed):
    """Raise if the disk has fewer free bytes than needed."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"{folder}: {needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free: make "
            "room, then run the same command again"
        )


@contextmanager
def _named_on_failure(path):
    """Name the file in errors of writing it, as those of a full disk don't."""
    try:
        yield
    except requests.RequestException:
        raise
    except OSError as error:
        if error.errno is None:  # one of ours
            raise
        raise OSError(
            f"{path} can't be written ({error.strerror}): make room, or make its folder "
            "writable, then run the same command again"
        ) from error
