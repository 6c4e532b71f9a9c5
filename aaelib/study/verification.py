"""Compare the tables of a run with those of a stored one, cell by cell."""

import math
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import pandas as pd
import yaml
from pydantic import ConfigDict, Field, StrictBool, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..shapes.sources import BUNDLED_CORPUS, BUNDLED_SOCKETS
from ..shapes.writing import write_whole

# Columns that `Study.table` adds, and what to do where they differ. They are not cells of a table.
PROVENANCE = {
    "source": "set AAELIB_DATA to the folder of the reference's shapes (unset: those that were "
    "downloaded, else the bundled ones) and run `make reproduce` again",
    "profile": "compare runs of one profile",
    "splits": "`make store` makes a run the reference",
}
VERDICTS = ("moved", "missing", "new", "within tolerance", "extra")  # the worst first
EXTRA = "T7"  # begins the names of tables of sealed sockets, which not all data has
MAX_LINES = 200
STAND_INS = "-stand-ins"  # after a profile's name: its reference on bundled sockets

_COLUMNS = ["table", "row", "column", "reference", "fresh"]
_COLUMNS += ["difference", "relative_difference", "tolerance", "verdict"]
_Share = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
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

    why: Annotated[str, Field(min_length=1, validate_default=True)] = ""
    table: str = "*"
    row: str = "*"
    column: str = "*"
    relative: _Share = 0.0
    absolute: _Share = 0.0
    any: StrictBool = False

    def fits(self, *names):
        """Whether the rule is for the cell of that table, row and column."""
        pairs = zip(names, (self.table, self.row, self.column), strict=True)
        return all(any(fnmatchcase(name, each) for each in some.split("|")) for name, some in pairs)

    def allows(self, reference, fresh):
        """Whether two numbers (NaN: the cell is a text or empty) are near enough."""
        allowed = max(self.relative * abs(reference), self.absolute)
        return self.any or abs(fresh - reference) <= allowed

    def __str__(self):
        stated = [f"{100 * self.relative:g} %"] * bool(self.relative)
        stated += [f"{self.absolute:g}"] * bool(self.absolute)
        return "any" if self.any else " or ".join(stated) or "exact"


EXACT = Tolerance("no rule is for this cell")


def load_tolerances(path):
    """
    Read a YAML file of rules, whose keys are the attributes of `Tolerance`, as a list of them.

    Raises ValueError for a rule without a reason, with an unknown key, or with a value of the wrong
    type.
    """
    rules = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    try:
        return TypeAdapter(list[Tolerance]).validate_python(rules)
    except ValidationError as error:
        # YAML 1.1 reads 1e-3 as a text: it wants 0.001 or 1.0e-3.
        wrong = error.errors()[0]
        place, key = wrong["loc"]
        given = f"{key} is {wrong['input']!r}; {wrong['msg']}"
        raise ValueError(f"{path}, rule {place + 1}: {given}") from error


# Comparing ------------------------------------------------------------------------------------


def reference_of(tables, references, profile):
    """
    Path of the reference for the tables of a run, in the folder `references`.

    It is named after the profile, with ``-stand-ins`` after it if all shapes of the run were
    bundled ones.
    """
    sources = [s for file in _files(tables) for s in pd.read_csv(file, dtype=str)["source"]]
    stand_ins = sources and all(s.startswith((BUNDLED_SOCKETS, BUNDLED_CORPUS)) for s in sources)
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
        and `fresh` (numbers or texts), `difference` and `relative_difference` (NaN for texts),
        `tolerance`, and a `verdict` of `VERDICTS`. A table, row or column that only one run has
        gets one row, in which the other names are empty. A table of sealed sockets that only the
        fresh run has is "extra".
    counts : pandas.DataFrame
        For each table the number of `cells` in both runs, how many of them are `equal`, and how
        many differences have each verdict.

    Raises
    ------
    FileNotFoundError
        If a folder has no tables.
    ValueError
        If the runs are of different shapes, profiles or numbers of splits.
    """
    profile = Path(reference).name.removesuffix(STAND_INS)
    fresh = _read(fresh, f"run `make reproduce PROFILE={profile}` first")
    reference = _read(reference, f"`make store PROFILE={profile}` makes a run the reference")
    differences, cells = _only_one("table", fresh, reference), {}
    for each in differences:
        if each["verdict"] == "new" and each["table"].startswith(EXTRA):
            each["verdict"] = "extra"
    for table in sorted(fresh.keys() & reference.keys()):
        _check_provenance(table, fresh[table], reference[table])
        records, cells[table] = _compare_tables(table, fresh[table], reference[table], tolerances)
        differences += records
    differences.sort(key=lambda each: VERDICTS.index(each["verdict"]))
    unnamed = dict.fromkeys(("row", "column", "tolerance"), "")
    differences = pd.DataFrame([unnamed | each for each in differences], columns=_COLUMNS)
    counts = pd.DataFrame({"cells": cells, "equal": cells}, dtype=int).rename_axis("table")
    tally = pd.crosstab(differences["table"], differences["verdict"])
    counts = counts.join(tally.reindex(columns=VERDICTS[::-1]), how="outer").fillna(0).astype(int)
    counts["equal"] -= counts["moved"] + counts["within tolerance"]
    return differences, counts


def _files(folder):
    # A file with a dot is one that is being written.
    return sorted(file for file in Path(folder).glob("*.csv") if file.name[0] != ".")


def _read(folder, advice):
    """Tables by name, each cell a str as it is written."""
    files = _files(folder)
    if not files:
        raise FileNotFoundError(f"no tables in {folder}: {advice}")
    return {file.stem: pd.read_csv(file, dtype=str, keep_default_na=False) for file in files}


def _check_provenance(table, fresh, reference):
    """Raise ValueError if a table of two runs comes from different shapes or settings."""
    for what, advice in PROVENANCE.items():
        mine, its = ("; ".join(run[what].unique()) for run in (fresh, reference))
        if mine != its:
            raise ValueError(f"{table} is of {what} {mine!r}, its reference of {its!r}: {advice}")


def _only_one(axis, fresh, reference):
    """Record for each name that only one run has."""
    missing = [{axis: name, "verdict": "missing"} for name in reference if name not in fresh]
    return missing + [{axis: name, "verdict": "new"} for name in fresh if name not in reference]


def _compare_tables(table, fresh, reference, tolerances):
    """Record for each difference between two tables, and the number of cells that both have."""
    fresh, reference = (each.drop(columns=list(PROVENANCE)) for each in (fresh, reference))
    names = _names(reference[[column for column in reference if column in fresh]])
    fresh, reference = (_by_name(each, names) for each in (fresh, reference))
    records = _only_one("row", fresh.index, reference.index)
    records += _only_one("column", fresh.columns, reference.columns)
    reference, fresh = reference.align(fresh, join="inner")
    cells = reference.compare(fresh, result_names=("reference", "fresh")).stack(0)
    cells = cells.reindex(columns=["reference", "fresh"]).dropna(how="all")
    numbers = cells.apply(pd.to_numeric, errors="coerce")
    cells["difference"] = numbers["fresh"] - numbers["reference"]
    cells["relative_difference"] = cells["difference"] / numbers["reference"].abs()
    for ((row, column), cell), pair in zip(cells.iterrows(), numbers.to_numpy(), strict=True):
        rule = next((t for t in tolerances if t.fits(table, row, column)), EXACT)
        record = {"row": row, "column": column, "tolerance": str(rule)} | cell.to_dict()
        records.append(record | {"verdict": "within tolerance" if rule.allows(*pair) else "moved"})
    return [{"table": table} | record for record in records], reference.size


def _names(table):
    """Columns that name rows: the first, and as many after it as it takes to tell rows apart."""
    n = 1
    while n < table.shape[1] and table.duplicated(list(table.columns[:n])).any():
        # Measured numbers are no names: a row whose number moved would be missing.
        if any(isinstance(_value(x), float) and not x.isdigit() for x in table.iloc[:, n]):
            break
        n += 1
    return list(table.columns[:n])


def _by_name(table, columns):
    """Index a table by the names of its rows; its other cells become numbers or texts."""
    names = pd.Series([", ".join(row) for row in table[columns].to_numpy()], dtype=str)
    again = names.groupby(names).cumcount()
    names = names.where(again == 0, names + " (" + (again + 1).astype(str) + ")")
    return table.drop(columns=columns).map(_value).astype(object).set_axis(names)


def _value(text):
    """Number in a cell (NaN if it is empty), or its text."""
    try:
        return float(text or "nan")
    except ValueError:
        return text


# Reporting ------------------------------------------------------------------------------------


def passes(differences, exact=False):
    """Whether all `differences` are within tolerance (none, if `exact`), but for extra tables."""
    return set(differences["verdict"]) <= {"extra", *["within tolerance"] * (not exact)}


def describe(differences, counts, exact=False):
    """
    A line for each table, a line for each of the first differences, and the verdict.

    `differences` and `counts` are from `compare`; `exact` grants no cell a tolerance.
    """
    total = counts.sum()
    overview = pd.concat([counts, total.to_frame("all tables").T]).to_string()
    lines = [_line(difference) for difference in differences.head(MAX_LINES).itertuples()]
    if len(differences) > MAX_LINES:
        lines.append(f"... and {len(differences) - MAX_LINES} more, in verify.csv")
    said = f"{total.equal} of {total.cells} cells are equal to the reference"
    said += "".join(f", {total[verdict]} {verdict}" for verdict in VERDICTS if total[verdict])
    verdict = "Verified" if passes(differences, exact) else "Not verified"
    verdict += " exactly" if exact else ""
    return "\n\n".join([overview, *["\n".join(lines)] * bool(lines), f"{verdict}: {said}."])


def _line(d):
    if d.verdict in ("missing", "new", "extra"):
        what = f"row {d.row!r}" if d.row else f"column {d.column!r}" if d.column else "whole table"
        return f"{d.verdict}: {d.table}, {what}"
    change = f"{100 * d.relative_difference:+.3g} %, " * math.isfinite(d.relative_difference)
    return (
        f"{d.verdict}: {d.table}, row {d.row!r}, column {d.column!r}: "
        f"{d.reference} → {d.fresh} ({change}allowed: {d.tolerance})"
    )


def write(differences, path):
    """Write all differences as CSV."""
    write_whole(path, differences.to_csv(index=False))


def store(tables, reference):
    """Replace the tables of a reference by those of a run, if the run has any."""
    files = _files(tables)
    for file in files:
        write_whole(Path(reference) / file.name, file.read_bytes())
    kept = {file.name for file in files}
    for old in _files(reference):
        if kept and old.name not in kept:
            old.unlink()
