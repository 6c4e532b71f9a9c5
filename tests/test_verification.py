"""Tables of two runs are compared cell by cell, under tolerances stated beforehand."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from aaelib.apps import cli
from aaelib.shapes.sources import BUNDLED_CORPUS, BUNDLED_SOCKETS
from aaelib.study import verification
from aaelib.study.verification import Tolerance, compare, passes

REFERENCE = Path(__file__).parent / "reference"
RULES = verification.load_tolerances(REFERENCE / "tolerances.yaml")
COMPARISON = """model,chamfer,chamfer_sd,coverage,answer,source,profile,splits
neither,0.0022830609389401,0.001,0.5,worse,SocketSSM,smoke,0
nearest scan,0.002,,0.5,,SocketSSM,smoke,0
"""
SOCKETS = """kind,part,sockets,length_mm,source,profile,splits
TF,scans,21,315.8,SocketSSM,smoke,0
TF,test,35,326.5,SocketSSM,smoke,0
TT,scans,30,228.1,SocketSSM,smoke,0
"""


class Runs:
    """A run and its reference, with the same two tables."""

    def __init__(self, root):
        self.fresh, self.reference = root / "results/smoke/tables", root / "reference/smoke"
        self.tolerances = []
        for folder in (self.fresh, self.reference):
            folder.mkdir(parents=True)
        self.write("comparison", COMPARISON)
        self.write("sockets", SOCKETS)

    def write(self, table, text):
        for folder in (self.fresh, self.reference):
            (folder / f"{table}.csv").write_text(text)

    def edit(self, old, new, table="comparison"):
        """Change a text of the fresh table."""
        path = self.fresh / f"{table}.csv"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def differences(self):
        return compare(self.fresh, self.reference, self.tolerances)[0]

    def only(self):
        """The one difference."""
        differences = self.differences()
        assert len(differences) == 1
        return differences.iloc[0]


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


# Cells


def test_the_same_tables_are_equal_in_every_cell_however_numbers_are_written(runs):
    runs.edit(",228.1,", ",2281e-1,", "sockets")
    # A file that is being written is no table.
    (runs.fresh / ".sockets.123.csv").write_text("half")
    differences, counts = compare(runs.fresh, runs.reference, [])
    # Neither what names a row, nor source, profile and splits, are cells.
    assert counts.cells.to_dict() == counts.equal.to_dict() == {"comparison": 8, "sockets": 6}
    assert passes(differences, exact=True)
    runs.write("empty", SOCKETS.splitlines()[0])
    assert runs.differences().empty


def test_a_cell_that_moved_in_its_last_digit_is_named(runs):
    runs.edit("0.0022830609389401", "0.0022830609389402")
    moved = runs.only()
    assert (moved.table, moved.row, moved.column) == ("comparison", "neither", "chamfer")
    assert (moved.reference, moved.fresh) == (0.0022830609389401, 0.0022830609389402)
    assert moved.difference == pytest.approx(1e-16, rel=0.01)
    assert moved.relative_difference == pytest.approx(1e-16 / 0.0022830609389401, rel=0.01)
    assert (moved.tolerance, moved.verdict) == ("exact", "moved")


def test_rows_are_matched_by_name_not_by_place(runs):
    header, *rows = SOCKETS.splitlines()
    (runs.fresh / "sockets.csv").write_text("\n".join([header, *reversed(rows)]) + "\n")
    assert runs.differences().empty
    runs.edit("326.5", "326.6", "sockets")
    assert runs.only().row == "TF, test"
    runs.write("sockets", SOCKETS.replace("TF,test", "TF,scans").replace("21", "35"))
    runs.edit("326.5", "326.6", "sockets")
    # Rows that nothing tells apart are numbered.
    assert runs.only().row == "TF, scans, 35 (2)"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (",0.001,", ",,"),  # a number that is gone
        ("0.002,,", "0.002,0.001,"),  # one that wasn't there
        (",0.001,", ",inf,"),
        (",0.001,", ",none,"),
        ("worse", "better"),
    ],
)
def test_what_is_no_number_is_never_near(runs, old, new):
    runs.tolerances = [Tolerance("test", relative=1e9, absolute=1e9)]
    runs.edit(old, new)
    assert runs.only().verdict == "moved"


# Tolerances


@pytest.mark.parametrize(
    ("rules", "fresh", "verdict"),
    [
        ([{"relative": 0.1}], "0.549", "within tolerance"),
        ([{"relative": 0.1}], "0.551", "moved"),
        ([{"absolute": 0.1}], "0.599", "within tolerance"),
        ([{"absolute": 0.1}], "0.601", "moved"),
        # The larger of the two, not their sum.
        ([{"relative": 0.1, "absolute": 0.1}], "0.599", "within tolerance"),
        ([{"relative": 0.1, "absolute": 0.1}], "0.601", "moved"),
        ([{"any": True}], "a text", "within tolerance"),
        ([{"relative": 0.1, "column": "chamfer"}], "0.51", "moved"),
        ([{"relative": 0.1, "column": "chamfer|cov*"}], "0.51", "within tolerance"),
        ([{"relative": 0.1, "row": "nearest*"}], "0.51", "moved"),
        ([{"relative": 0.1, "table": "sockets"}], "0.51", "moved"),
        # The first rule that fits holds.
        ([{"absolute": 0.2}, {"absolute": 0.1}], "0.65", "within tolerance"),
        ([{"absolute": 0.1}, {"absolute": 0.2}], "0.65", "moved"),
    ],
)
def test_a_tolerance_is_for_the_cells_that_it_names(runs, rules, fresh, verdict):
    runs.tolerances = [Tolerance("test", **rule) for rule in rules]
    runs.edit("0.001,0.5,", f"0.001,{fresh},")
    assert runs.only().verdict == verdict


def test_every_stated_tolerance_has_a_reason_and_is_reached():
    cells = [(rule.table, rule.row, rule.column) for rule in RULES]
    assert len(set(cells)) == len(cells)
    assert cells.index(("*", "*", "*")) == len(cells) - 1
    assert all(len(rule.why.split()) > 1 for rule in RULES)
    of_chamfer = ("T4_augmentation_transfer", "augmentation", "chamfer_sd")
    assert str(next(rule for rule in RULES if rule.fits(*of_chamfer))) == "60 % or 0.0001"


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ("{column: jsd, absolute: 0.1}", "why"),
        ("{why: noise, colum: jsd}", "colum"),
        ("{why: noise, relative: 1e-3}", "relative"),
        ("{why: noise, absolute: -1}", "absolute"),
        ("{why: noise, absolute: .inf}", "absolute"),
        ("{why: noise, any: 1}", "any"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_name(tmp_path, rule, key):
    (tmp_path / "tolerances.yaml").write_text(f"- {{why: noise}}\n- {rule}\n")
    with pytest.raises(ValueError, match=f"tolerances.yaml, rule 2: {key} is "):
        verification.load_tolerances(tmp_path / "tolerances.yaml")


# Tables, rows and columns


def test_what_only_one_run_has_is_one_difference(runs):
    runs.edit("nearest scan", "floor")
    runs.edit("coverage", "jsd")
    (runs.fresh / "sockets.csv").rename(runs.fresh / "other.csv")
    found = runs.differences()[["table", "row", "column", "verdict"]]
    assert sorted(map(tuple, found.to_numpy())) == [
        ("comparison", "", "coverage", "missing"),
        ("comparison", "", "jsd", "new"),
        ("comparison", "floor", "", "new"),
        ("comparison", "nearest scan", "", "missing"),
        ("other", "", "", "new"),
        ("sockets", "", "", "missing"),
    ]
    assert not any(passes(found[found.verdict == verdict]) for verdict in ("missing", "new"))


def test_a_table_of_sealed_sockets_is_listed_and_any_other_new_table_fails(runs, verify):
    (runs.fresh / "T7_sealed.csv").write_text(SOCKETS)
    result = verify("--exact")
    assert result.exit_code == 0
    assert "extra: T7_sealed, whole table" in result.stdout
    assert "Verified exactly: 14 of 14 cells are equal to the reference, 1 extra." in result.stdout
    # A reference that has it is compared with as any other.
    shutil.copy(runs.fresh / "T7_sealed.csv", runs.reference)
    runs.edit("228.1", "230.0", "T7_sealed")
    assert runs.only().verdict == "moved"
    (runs.fresh / "T7_sealed.csv").rename(runs.fresh / "T8_sealed.csv")
    assert verify().exit_code == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("SocketSSM", "bundled", "source 'bundled', its reference of 'SocketSSM': set AAELIB_DATA"),
        ("smoke,0", "smoke,1", "sockets is of splits '1', its reference of '0'"),
    ],
)
def test_runs_of_other_shapes_or_splits_are_not_compared(runs, old, new, message):
    runs.edit(old, new, "sockets")
    with pytest.raises(ValueError, match=message):
        runs.differences()


def test_runs_on_stand_ins_have_a_reference_of_their_own(runs):
    references = runs.reference.parent
    assert verification.reference_of(runs.fresh, references, "smoke") == runs.reference
    runs.edit("SocketSSM", BUNDLED_SOCKETS, "sockets")
    assert verification.reference_of(runs.fresh, references, "smoke") == runs.reference
    runs.edit("SocketSSM", BUNDLED_CORPUS)
    its_own = verification.reference_of(runs.fresh, references, "smoke")
    assert its_own == references / "smoke-stand-ins"
    verification.store(runs.fresh, its_own)
    assert compare(runs.fresh, its_own, [])[0].empty


# The command


@pytest.fixture
def verify(runs, monkeypatch):
    """Run the command on `runs`, with a tolerance for the coverage; return its result."""
    (runs.reference.parent / "tolerances.yaml").write_text(
        "- {column: coverage, absolute: 0.1, why: it is drawn}\n"
    )
    monkeypatch.setattr(cli, "RESULTS", runs.fresh.parents[1])
    monkeypatch.setattr(cli, "REFERENCE", runs.reference.parent)

    def run(*arguments):
        return CliRunner().invoke(cli.app, ["verify", "--profile", "smoke", *arguments])

    return run


def test_exact_grants_no_tolerance_and_what_moved_fails_and_comes_first(runs, verify):
    runs.edit("0.001,0.5,", "0.001,0.55,")
    result = verify()
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["comparison", "8", "7", "0", "1", "0", "0", "0"] in lines
    assert ["sockets", "6", "6", "0", "0", "0", "0", "0"] in lines
    line = "row 'neither', column 'coverage': 0.5 → 0.55 (+10 %, allowed: 0.1)"
    assert f"within tolerance: comparison, {line}" in result.stdout
    assert verify("--exact").exit_code == 1
    runs.edit("228.1", "230.0", "sockets")
    result = verify()
    assert result.exit_code == 1
    named = [line for line in result.stdout.splitlines() if "→" in line]
    assert [line.split(":")[0] for line in named] == ["moved", "within tolerance"]
    assert "Not verified: 12 of 14 cells" in result.stdout
    written = pd.read_csv(runs.fresh.parent / "verify.csv")
    assert written.verdict.tolist() == ["moved", "within tolerance"]


def test_a_long_list_is_cut_and_says_so(runs, verify):
    rows = "".join(f"socket {i},1.5,SocketSSM,smoke,0\n" for i in range(250))
    runs.write("sockets", f"socket,length_mm,source,profile,splits\n{rows}")
    runs.edit(",1.5", ",2.5", "sockets")
    result = verify()
    assert result.stdout.count("moved: ") == 200
    assert "... and 50 more, in verify.csv" in result.stdout
    assert len(pd.read_csv(runs.fresh.parent / "verify.csv")) == 250


@pytest.mark.parametrize(
    ("gone", "advice"),
    [
        ("fresh", "run `make reproduce PROFILE=smoke` first"),
        ("reference", "`make store PROFILE=smoke` makes a run the reference"),
    ],
)
def test_without_tables_the_command_to_run_is_named(runs, verify, gone, advice):
    for file in getattr(runs, gone).iterdir():
        file.unlink()
    result = verify()
    assert result.exit_code == 1
    assert result.stderr.startswith("aaelib: no tables in ")
    assert result.stderr.endswith(f": {advice}\n")


# Storing


def test_a_stored_run_is_the_reference(runs, tmp_path):
    runs.edit("0.5", "0.7")
    (runs.fresh / "sockets.csv").unlink()
    (runs.fresh / "comparison.md").write_text("| a table to read |")
    assert not passes(runs.differences())
    verification.store(runs.fresh, runs.reference)
    assert passes(runs.differences(), exact=True)
    # A run without tables leaves what there is.
    verification.store(tmp_path / "nowhere", runs.reference)
    assert [file.name for file in runs.reference.iterdir()] == ["comparison.csv"]
