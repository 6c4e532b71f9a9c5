"""Download SocketSSM and ModelNet, whole or not at all."""

import os
import shutil

import pooch
from tqdm.auto import tqdm

from .places import DOWNLOADS
from .sources import SOCKETS, published_sockets, unpublished
from .writing import locked

_SOCKETSSM_URL = (
    "https://raw.githubusercontent.com/adapttech-ltd/SocketSSM/"
    "f118cbdce7fbde741601b9d03234ecb37cf9d2bd/"
)
_MODELNET = {  # the address and the sha256 of the archive
    10: (
        "http://3dvision.princeton.edu/projects/2014/3DShapeNets/",
        "9d8679435fc07d1d26f13009878db164a7aa8ea5e7ea3c8880e42794b7307d51",
    ),
    40: (
        "http://modelnet.cs.princeton.edu/",
        "42dc3e656932e387f554e25a4eb2cc0e1a1bd3ab54606e2a9eae444c60e536ac",
    ),
}
_UNPACKED = "unpacked"
_ADVICE = (
    "files that came whole are kept: check the network and the room on the disk, then run the same "
    "command again, or get the shapes by hand and name them in AAELIB_DATA (see data/README.md)"
)


def download_sockets():
    """
    Download SocketSSM (200 sockets, 10 MB, CC BY-SA 4.0) into `data/SocketSSM`.

    Every file is checked against its sha256. A download that failed keeps the files that came, and
    where the folder lacks files, only these are downloaded.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OSError
        If a file can't be downloaded or written, or is not the published one. No new
        `data/SocketSSM` is made then. A file in an old one that was changed is named, and stays.
    RuntimeError
        If another process is downloading it.
    """
    folder, registry = DOWNLOADS / SOCKETS, published_sockets()
    there = [folder / name for name in registry if (folder / name).exists()]
    if changed := unpublished(folder, there):
        raise FileExistsError(f"{changed[0]} is not the published file: move it away, run again")
    return _download(SOCKETS, _SOCKETSSM_URL, registry)


def download_modelnet(n_classes):
    """
    Download ModelNet10 (about 450 MB) or ModelNet40 (about 2 GB) into `data/`; academic use only.

    The archive is checked against its sha256 before it is unpacked.

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
        For another `n_classes`.
    OSError, RuntimeError
        As `download_sockets`.
    """
    if n_classes not in _MODELNET:
        raise ValueError(f"there is no ModelNet{n_classes}; accepted: 10 and 40")
    name, (url, sha256) = f"ModelNet{n_classes}", _MODELNET[n_classes]
    # zipfile, which pooch uses, drops "..", drives and roots from names, and makes no links.
    return _download(name, url, {f"{name}.zip": sha256}, pooch.Unzip(extract_dir=_UNPACKED))


def _download(name, url, registry, unzip=None):
    """Download files (name -> sha256) into a hidden folder, then move it into place."""
    folder, work = DOWNLOADS / name, DOWNLOADS / f".{name}"
    pooch.get_logger().setLevel("WARNING")  # a line a file would break the progress bar
    with locked(folder, patience=0):
        place = folder if folder.is_dir() else work
        files = pooch.create(place, url, registry=registry, retry_if_failed=2)
        try:
            if place is work or not unzip:
                # A process that was killed may have left half a file there.
                shutil.rmtree(work / _UNPACKED, ignore_errors=True)
                for file in tqdm(registry, desc=name, disable=unzip is not None):
                    files.fetch(file, processor=unzip, progressbar=unzip is not None)
            if place is work:
                os.replace(work / _UNPACKED / name if unzip else work, folder)
        except (OSError, ValueError) as error:
            raise OSError(f"{name} is not downloaded ({error}); {_ADVICE}") from error
        shutil.rmtree(work, ignore_errors=True)  # the archive
    return folder
