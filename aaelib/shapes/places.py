"""Where shapes, models and notebooks come from, and where results and downloads go."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_IN_CHECKOUT = (_PACKAGE.parent / "pyproject.toml").exists()
# An installed package has data/ and notebooks/ inside; its results go where it is used.
BUNDLE = _PACKAGE.parent if _IN_CHECKOUT else _PACKAGE
ROOT = _PACKAGE.parent if _IN_CHECKOUT else Path.cwd()

DATA = BUNDLE / "data"
NOTEBOOKS = BUNDLE / "notebooks"
DOWNLOADS = ROOT / "data"
RESULTS = ROOT / "results"


def published_folders(*patterns):
    """Find the folders of the first pattern that has any, in AAELIB_DATA, then in data/."""
    places = [DOWNLOADS]
    if named := os.environ.get("AAELIB_DATA"):
        if not Path(named).is_dir():
            raise FileNotFoundError(f"AAELIB_DATA is {named!r}, which is no folder")
        if not any(any(Path(named).glob(pattern)) for pattern in ("SocketSSM", "ModelNet[14]0*")):
            expected = "no folder SocketSSM, ModelNet10* or ModelNet40* (see data/README.md)"
            raise FileNotFoundError(f"AAELIB_DATA is {named!r}, which holds {expected}")
        places.insert(0, Path(named))
    for place in places:
        for pattern in patterns:
            if found := sorted(f for f in place.glob(pattern) if f.is_dir()):
                return found
    return []
