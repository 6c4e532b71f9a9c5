"""Write files whole or not at all, and one process at a time."""

import errno
import os
import platform
import re
import time
import warnings
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

# Why a file can't be written, and what to do about it. The first ones are of the disk: whatever
# file an error names, they are why the one at hand is not whole.
_DISK = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "your share of the disk is used up: free some space",
    errno.EFBIG: "it is larger than a file may be here: raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only: make it writable, or write elsewhere",
    errno.EIO: "the disk fails: see the system's log",
}
_REASONS = _DISK | {
    errno.EACCES: "you may not write there: change who may, or write elsewhere",
    errno.EPERM: "you may not write there: change who may, or write elsewhere",
    errno.EISDIR: "a folder is in its place: move it away",
    errno.ENOTDIR: "a file is in the place of its folder: move it away",
    errno.EEXIST: "a file is in the place of its folder: move it away",
}
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP}


@contextmanager
def replacing(path):
    """
    Yield a temporary path that takes the place of `path` when the block ends well.

    A reader never sees half a file, and a block that raises (or a killed process) leaves what was
    there before. What a killed process was writing goes when the next one writes the same file
    (one that is started later: what is in a folder is looked up once by each process).

    Parameters
    ----------
    path : str or Path
        The file to write. Its folder is created when missing.

    Yields
    ------
    Path
        A path in the same folder, with the same suffix, to write to.

    Raises
    ------
    OSError
        If the file can't be written, as on a full disk, naming it and saying why and what to do;
        whatever error that was in the block, and before the block where it can be known by then.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with explained(path, temporary):
        refuse_folder(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        try:
            yield temporary
            _write_out(temporary)
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def refuse_folder(path):
    """
    Raise if a folder is where a file will go: before long work rather than after it.

    Parameters
    ----------
    path : Path

    Raises
    ------
    IsADirectoryError
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, _unwritten(path, errno.EISDIR), str(path))


@contextmanager
def locked(path, patience=5.0):
    """
    Hold a file or a folder, so that no other process does at the same time.

    The lock is the system's (flock, on Windows LockFileEx), on a file beside `path` that says who
    holds it: it ends with the process, however that ends. It holds between the processes of a
    machine, and between machines where the network file system passes locks on, as NFS and SMB do.

    Parameters
    ----------
    path : str or Path
        The folder around it is created when missing.
    patience : float
        Seconds to wait for the other to finish. Not 0: the kernel of a killed run takes a moment
        to notice.

    Raises
    ------
    RuntimeError
        If another process holds it, saying which and since when.
    OSError
        If nothing can be written there, saying why and what to do.

    Warns
    -----
    UserWarning
        Where the file system has no locks; the block runs all the same.
    """
    path = Path(path)
    file = path.with_name(f".{path.name}.lock")
    with explained(file, file):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquired(path, file, patience)
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)  # still held: who waits for it will make another
        lock.release()


def _acquired(path, file, patience):
    lock = FileLock(file, timeout=patience, on_acquired=_sign)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(
            f"{path} is in use by {_holder(file)}: let it end or stop it, then run again"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"the file system of {path} has no locks: see that no other run writes there",
            stacklevel=4,
        )
    return lock


def _sign(descriptor):
    """Write into a lock's file who holds it."""
    os.ftruncate(descriptor, 0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    os.write(descriptor, f"process {os.getpid()} on {platform.node()} since {since}".encode())


def _holder(file):
    try:
        return file.read_text(encoding="utf-8") or "another process"
    except OSError:
        return "another process"


@contextmanager
def explained(path, written=None):
    """
    Say of errors in a block, where they come from a file not being written, why and what to do.

    Parameters
    ----------
    path : Path
        The file to name.
    written : Path, optional
        The one that is written for it; itself by default.

    Raises
    ------
    OSError
        Instead of one of the disk, which may name no file, or of `written` or its folders.
    """
    try:
        yield
    except Exception as error:
        failure = _failure(error, {written, path, *path.parents})
        if failure is None or failure.strerror == _unwritten(path, failure.errno):
            raise
        raise OSError(failure.errno, _unwritten(path, failure.errno), str(path)) from error


def _failure(error, paths):
    """The OSError for which files were not written: an error, or what was behind it, or None."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _REASONS:
            named = error.filename is not None and Path(os.fsdecode(error.filename)) in paths
            if named or error.errno in _DISK:
                return error
        if type(error) is OSError and re.fullmatch(r"\d+ requested and \d+ written", str(error)):
            return OSError(errno.ENOSPC, str(error))  # NumPy's, which does not say why
        error = error.__cause__ or error.__context__
    return None


def _unwritten(path, code):
    return f"not written, and what was there before is as it was; {_REASONS[code]}, then run again"


def _remove_leftovers(path):
    """Remove what processes that were killed had begun to write in the place of a file."""
    form = re.compile(rf"\.{re.escape(path.stem)}\.(\d+){re.escape(path.suffix)}")
    for file in _temporaries(path.parent.absolute()):
        found = form.fullmatch(file.name)
        if found and not psutil.pid_exists(int(found[1])):
            file.unlink(missing_ok=True)


@cache
def _temporaries(folder):
    """
    What had names as `replacing` gives them in a folder when this process first wrote there.

    Looked up once: in a folder of very many files each look takes long.
    """
    form = re.compile(r"\..*\.\d+(\.[^.]*)?", re.DOTALL)
    return [file for file in folder.glob(".*") if form.fullmatch(file.name)]


def _write_out(file):
    """Have the system write a file to its disk: a network's says only then that it is full."""
    descriptor = os.open(file, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
