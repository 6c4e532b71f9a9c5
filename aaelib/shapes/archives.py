"""Sizes that files declare, checked before anything is unpacked."""

from pathlib import Path
from zipfile import ZipFile

EXPANSION = 20  # times its own size that a file may declare; text of meshes packs to a tenth
SLACK = 20_000_000  # bytes that even the smallest file may declare


def check(path, declared, *others):
    """
    Raise a ValueError if a file declares far more than it can hold, with others that it names.

    Parameters
    ----------
    path, *others : str or Path
    declared : int
        Bytes, unpacked, as numbers in single precision.
    """
    size = sum(Path(each).stat().st_size for each in (path, *others))
    if declared > EXPANSION * size + SLACK:
        raise ValueError(f"its {size:,} bytes declare {declared:,}, more than they can hold")


def check_zip(path):
    """Raise a ValueError if what a zip archive says to unpack to is far more than its own size."""
    with ZipFile(path) as archive:
        check(path, sum(member.file_size for member in archive.infolist()))
