"""Compare the tables of a run with those of a stored one, cell by cell."""

import math
import shutil
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd
import yaml

from ..shapes.writing import replacing

# Columns that `Study.table` adds: they describe the whole table and are not cells of it.
PROVENANCE = ("source", "profile", "seed")
# Verdicts on a difference, the worst first.
VERDICTS = ("moved", "missing", "new", "within tolerance")
MAX_LINES = 200
STAND_INS = "-stand-ins"  # after a profile's name: its reference on bundled sockets

_COLUMNS = ["table", "row", "column", "reference", "fresh"]
_COLUMNS += ["difference", "relative_difference", "tolerance", "verdict"]


@dataclass(frozen=True)
class Tolerance:
    """
    How far some cells may be from their reference on another machine.

    Attributes
    ----------
    why : str
        The reason.
    table, row, column : str
        Which cells: patterns (`fnmatch`) of names, several separated by "|".
    relative, absolute : float
        A number may be off by the larger of `relative` times its reference, and `absolute`. Without
        them it must be equal, as texts always must.
    any : bool
        The cell may hold anything.
    """

    why: str
    table: str = "*"
    row: str = "*"
    column: str = "*"
    relative: float = 0.0
    absolute: float = 0.0
    any: bool = False

    def fits(self, table, row, column):
        """Whether the rule is for that cell."""
        pairs = ((table, self.table), (row, self.row), (column, self.column))
        return all(
            any(fnmatchcase(name, pattern) for pattern in patterns.split("|"))
            for name, patterns in pairs
        )

    def allows(self, reference, fresh):
        """Whether two numbers (None: the cell is a text) are near enough."""
        if self.any:
            return True
        if None in (reference, fresh) or not (math.isfinite(reference) and math.isfinite(fresh)):
            return False
        return abs(fresh - reference) <= max(self.absolute, self.relative * abs(reference))

    def __str__(self):
        if self.any:
            return "any"
        parts = [f"{100 * self.relative:g} %"] if self.relative else []
        parts += [f"{self.absolute:g}"] if self.absolute else []
        return " or ".join(parts) or "exact"


EXACT = Tolerance("no rule is for this cell")


def load_tolerances(path):
    """
    Read a YAML file of rules, whose keys are the attributes of `Tolerance`, as a list of them.

    Raises ValueError for a rule without a reason, with an unknown key, or with a value of the wrong
    type.
    """
    rules = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return [_tolerance(rule, f"{path}, rule {i}") for i, rule in enumerate(rules, start=1)]


def _tolerance(rule, where):
    types = {field.name: field.type for field in fields(Tolerance)}
    if unknown := rule.keys() - types:
        raise ValueError(f"{where}: unknown {sorted(unknown)}; accepted: {', '.join(types)}")
    if not rule.get("why"):
        raise ValueError(f"{where}: say why these cells may differ, in a text `why`")
    for key, value in rule.items():
        # YAML 1.1 reads 1e-3 as a text: it wants 0.001 or 1.0e-3.
        if types[key] is float:
            good = type(value) in (int, float) and 0 <= value < math.inf
        else:
            good = type(value) is types[key]
        if not good:
            wanted = {float: "a number, 0 or more", str: "a text", bool: "true or false"}
            raise ValueError(f"{where}: {key} is {value!r}; it must be {wanted[types[key]]}")
    return Tolerance(**rule)


# Comparing ------------------------------------------------------------------------------------


def reference_of(tables, references, profile):
    """
    Path of the reference for the tables of a run, in the folder `references`.

    It is named after the profile, with ``-stand-ins`` after it if all shapes of the run were
    bundled ones.
    """
    from ..shapes.sources import BUNDLED_CORPUS, BUNDLED_SOCKETS

    sources = [pd.read_csv(file, dtype=str).get("source", pd.Series()) for file in _files(tables)]
    sources = pd.concat([pd.Series(), *sources]).dropna()
    stand_ins = len(sources) and sources.str.startswith((BUNDLED_SOCKETS, BUNDLED_CORPUS)).all()
    return Path(references) / (profile + STAND_INS if stand_ins else profile)


def compare(fresh, reference, tolerances):
    """
    Differences between the tables of two runs.

    Rows are matched by name, in any order. A name is the first cell of a row, and as many of those
    after it as it takes to tell the rows apart.

    Parameters
    ----------
    fresh, reference : str or Path
        Folders of CSV files, as `Study.table` writes them: `results/<profile>/tables` and
        `tests/reference/<profile>`.
    tolerances : sequence of Tolerance
        The first that fits a cell applies; a cell that none fits must be equal.

    Returns
    -------
    differences : pandas.DataFrame
        A row for each cell that is not equal, worst first: `table`, `row`, `column`, `reference`
        and `fresh` as they are written, `difference` and `relative_difference` (NaN for texts),
        `tolerance`, and a `verdict` of `VERDICTS`. A table, row or column that only one run has
        gets one row, in which the other names are empty.
    counts : pandas.DataFrame
        For each table the number of `cells` in both runs, how many of them are `equal`, and how
        many differences have each verdict.

    Raises
    ------
    FileNotFoundError
        If a folder has no tables.
    ValueError
        If the runs are of different shapes, profiles or seeds.
    """
    profile = Path(reference).name.removesuffix(STAND_INS)
    fresh = _read(fresh, f"run `make reproduce PROFILE={profile}` first")
    reference = _read(reference, f"`make store PROFILE={profile}` makes a run the reference")
    _check_provenance(fresh, reference, profile)
    differences, counts = [], {}
    for table in sorted(fresh.keys() | reference.keys()):
        if table not in fresh or table not in reference:
            found, cells = [_only_one(table, in_fresh=table in fresh)], 0
        else:
            found, cells = _compare_tables(table, fresh[table], reference[table], tolerances)
        verdicts = [difference["verdict"] for difference in found]
        tally = {verdict: verdicts.count(verdict) for verdict in reversed(VERDICTS)}
        equal = cells - tally["moved"] - tally["within tolerance"]
        counts[table] = {"cells": cells, "equal": equal, **tally}
        differences += found
    differences.sort(key=lambda difference: VERDICTS.index(difference["verdict"]))
    return pd.DataFrame(differences, columns=_COLUMNS), pd.DataFrame(counts).T.rename_axis("table")


def _files(folder):
    # A file with a dot is one that is being written.
    return sorted(file for file in Path(folder).glob("*.csv") if file.name[0] != ".")


def _read(folder, advice):
    """Tables by name, each cell a str as it is written."""
    files = _files(folder)
    if not files:
        raise FileNotFoundError(f"no tables in {folder}: {advice}")
    return {file.stem: pd.read_csv(file, dtype=str, keep_default_na=False) for file in files}


def _check_provenance(fresh, reference, profile):
    """Raise ValueError if tables that both runs have come from different shapes or settings."""
    advice = {
        "source": "set AAELIB_DATA to the folder of the reference's shapes (unset: those that were "
        f"downloaded, else the bundled ones) and run `make reproduce PROFILE={profile}` again",
        "profile": "compare runs of one profile",
        "seed": f"`make store PROFILE={profile}` makes a run the reference",
    }
    for what in PROVENANCE:
        pairs = [
            ("; ".join(fresh[table][what].unique()), "; ".join(reference[table][what].unique()))
            for table in sorted(fresh.keys() & reference.keys())
            if what in fresh[table] and what in reference[table]
        ]
        other = [pair for pair in dict.fromkeys(pairs) if pair[0] != pair[1]]
        if other:
            mine, its = ("; ".join(dict.fromkeys(names)) for names in zip(*other, strict=True))
            raise ValueError(
                f"these results are of {what} {mine!r}, the reference of {its!r}: {advice[what]}"
            )


def _compare_tables(table, fresh, reference, tolerances):
    """Differences between two tables, and the number of cells that both have."""
    both = [name for name in PROVENANCE if name in fresh and name in reference]
    fresh, reference = _by_name(fresh.drop(columns=both), reference.drop(columns=both))
    found = [
        _only_one(table, in_fresh=name in new, **{axis: name})
        for axis, new, old in (
            ("row", fresh.index, reference.index),
            ("column", fresh.columns, reference.columns),
        )
        for name in [*old.difference(new, sort=False), *new.difference(old, sort=False)]
    ]
    rows = reference.index.intersection(fresh.index, sort=False)
    columns = reference.columns.intersection(fresh.columns, sort=False)
    for row in rows:
        for column in columns:
            texts = reference.at[row, column], fresh.at[row, column]
            if not _equal(*texts):
                found.append(_difference(table, row, column, *texts, tolerances))
    return found, len(rows) * len(columns)


def _by_name(fresh, reference):
    """Both tables indexed by the names of rows, without the columns that name them."""
    common = [column for column in reference if column in fresh]
    keys = common[:1]
    for column in common[1:]:
        tables = (fresh, reference)
        # Measured numbers are no names: a row whose number moved would be missing.
        if not any(frame.duplicated(keys).any() for frame in tables) or not all(
            (frame[column].map(_number).isna() | frame[column].str.isdigit()).all()
            for frame in tables
        ):
            break
        keys.append(column)
    return _indexed(fresh, keys), _indexed(reference, keys)


def _indexed(frame, keys):
    names = pd.Series([", ".join(row) for row in frame[keys].itertuples(index=False)], dtype=str)
    again = names.groupby(names).cumcount()
    names = names.where(again == 0, names + " (" + (again + 1).astype(str) + ")")
    return frame.drop(columns=keys).set_axis(names, axis="index")


def _number(text):
    """Number in a cell, NaN if it is empty, None if it is a text."""
    try:
        return float(text or "nan") if "_" not in text else None
    except ValueError:
        return None


def _equal(reference, fresh):
    if reference == fresh:
        return True
    numbers = _number(reference), _number(fresh)
    if None in numbers:
        return False
    # "3" and "3.0" are one number; "" and "nan" both stand for none.
    return numbers[0] == numbers[1] or all(map(math.isnan, numbers))


def _difference(table, row, column, reference, fresh, tolerances):
    """Record for a cell that is not equal."""
    tolerance = next((t for t in tolerances if t.fits(table, row, column)), EXACT)
    numbers = _number(reference), _number(fresh)
    difference = math.nan if None in numbers else numbers[1] - numbers[0]
    relative = difference / abs(numbers[0]) if numbers[0] else math.nan
    verdict = "within tolerance" if tolerance.allows(*numbers) else "moved"
    cells = table, row, column, reference, fresh, difference, relative, str(tolerance), verdict
    return dict(zip(_COLUMNS, cells, strict=True))


def _only_one(table, in_fresh, row="", column=""):
    """Record for a table, row or column that only one run has."""
    verdict = "new" if in_fresh else "missing"
    cells = table, row, column, "", "", math.nan, math.nan, "", verdict
    return dict(zip(_COLUMNS, cells, strict=True))


# Reporting ------------------------------------------------------------------------------------


def passes(differences, exact=False):
    """Whether a run agrees with its reference: all `differences` are within tolerance, or none."""
    return differences.empty or (
        not exact and bool((differences["verdict"] == "within tolerance").all())
    )


def describe(differences, counts, exact=False):
    """
    A line for each table, a line for each of the first differences, and the verdict.

    `differences` and `counts` are from `compare`; `exact` grants no cell a tolerance.
    """
    total = counts.sum()
    overview = pd.concat([counts, total.to_frame("all tables").T])
    lines = [*overview.to_string().splitlines(), ""]
    lines += [_line(difference) for difference in differences.head(MAX_LINES).itertuples()]
    if len(differences) > MAX_LINES:
        lines.append(f"... and {len(differences) - MAX_LINES} more, in verify.csv")
    if len(differences):
        lines.append("")
    return "\n".join([*lines, _verdict(differences, total, exact)])


def _line(difference):
    d = difference
    if d.verdict in ("missing", "new"):
        what = f"row {d.row!r}" if d.row else f"column {d.column!r}" if d.column else "whole table"
        return f"{d.verdict}: {d.table}, {what}"
    relative = d.relative_difference
    change = f"{100 * relative:+.3g} %, " if math.isfinite(relative) else ""
    return (
        f"{d.verdict}: {d.table}, row {d.row!r}, column {d.column!r}: "
        f"{d.reference or 'empty'} → {d.fresh or 'empty'} ({change}allowed: {d.tolerance})"
    )


def _verdict(differences, total, exact):
    if differences.empty:
        return f"Verified: all {total.cells} cells are equal to the reference."
    counted = f"{total.equal} of {total.cells} cells are equal to the reference"
    counted += f", {total['within tolerance']} within tolerance"
    if passes(differences, exact):
        return f"Verified: {counted}."
    rest = [f"{total[verdict]} {verdict}" for verdict in VERDICTS[:3] if total[verdict]]
    counted = ", ".join([counted, *rest])
    return f"Not verified: {counted}" + (" (exact: no tolerance)." if exact else ".")


def write(differences, path):
    """Write all differences as CSV."""
    with replacing(path) as temporary:
        differences.to_csv(temporary, index=False)


def store(tables, reference):
    """Replace the tables of a reference by those of a run, if the run has any."""
    files = _files(tables)
    for file in files:
        with replacing(Path(reference) / file.name) as temporary:
            shutil.copyfile(file, temporary)
    kept = {file.name for file in files}
    for old in _files(reference):
        if kept and old.name not in kept:
            old.unlink()
