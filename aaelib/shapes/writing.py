"""Write files whole or not at all, and by one process at a time."""

import errno
import io
import os
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

# With which texts begin that spreadsheets take for formulas (OWASP, "CSV Injection").
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_UNTOUCHED = "not written, and what was there before is as it was"


@contextmanager
def replacing(path):
    """
    Yield a temporary path that takes the place of `path` when the block ends well.

    A reader never sees half a file. A block that raises, or a process that is killed, leaves what
    was there before. A killed process also leaves the hidden temporary file.

    Parameters
    ----------
    path : str or Path
        The file to write. Its folder is created if it is missing.

    Yields
    ------
    Path
        A hidden path in the same folder, with the same suffix, to write to.

    Raises
    ------
    OSError
        If the file can't be written, for example on a full disk. The message names the file.
    """
    path = Path(path)
    refuse_folder(path)
    # Without the file's own name, which may be as long as names can be.
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a network's disk says only now that it is full
        os.replace(temporary, path)
    except Exception as error:
        # The OSError about one of these paths, or about none, may be in a library's own error.
        paths, cause = {"", *map(str, (temporary, *path.parents))}, error
        while not (isinstance(cause, OSError) and str(cause.filename or "") in paths):
            cause = cause.__cause__ or cause.__context__
            if cause is None:
                raise
        advice = "see that there is room and that you may write there, then run again"
        message = f"{_UNTOUCHED} ({cause}); {advice}"
        # NumPy's error of a full disk has no number.
        raise OSError(cause.errno or errno.ENOSPC, message, str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_whole(path, content):
    """Write a text (UTF-8) or bytes as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_array(file, array):
    """
    Write an array as a `.npy` file.

    `numpy.save` writes to a file through a buffer of C's, and does not see that the last 4 kB find
    no room: a file that is cut off would pass for a whole one.
    """
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    file.write_bytes(content.getbuffer())


def refuse_folder(path):
    """Raise if there is a folder where a file will go: before long work rather than after it."""
    if path.is_dir():
        message = f"{_UNTOUCHED}; a folder is in its place: move it away, then run again"
        raise IsADirectoryError(errno.EISDIR, message, str(path))


def without_formulas(frame):
    """Put an apostrophe before texts of a table that a spreadsheet would take for formulas."""

    def quoted(value):
        return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value

    texts = frame.select_dtypes(exclude="number")
    return frame.assign(**texts.map(quoted)).rename(index=quoted)


@contextmanager
def locked(path, patience=5.0):
    """
    Hold a file or a folder, so that no other process does at the same time.

    The lock ends with the process, however that ends. It holds between machines where the network's
    file system passes locks on, as NFS and SMB do.

    Parameters
    ----------
    path : str or Path
        The folder around it is created if it is missing.
    patience : float
        Seconds to wait for another process. Not 0: the kernel of a killed notebook takes a moment
        to end.

    Raises
    ------
    RuntimeError
        If another process holds it.
    """
    path = Path(path)
    file = path.with_name(f".{path.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        message = f"{path} is in use by another process: let it end or stop it, then run again"
        raise RuntimeError(message) from None
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # still held: a process that waits makes another
        lock.release()
