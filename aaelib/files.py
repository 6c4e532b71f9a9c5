"""Write files whole or not at all."""

import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path):
    """
    Yield a temporary path that takes the place of `path` when the block ends well.

    A reader never sees half a file, and a block that raises (or a killed process) leaves what was
    there before.

    Parameters
    ----------
    path : str or Path
        The file to write. Its folder is created when missing.

    Yields
    ------
    Path
        A path in the same folder, with the same suffix, to write to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
