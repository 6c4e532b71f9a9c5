"""The command line, ``python -m aaelib``: thin commands over the modules that do the work."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.core import TyperGroup

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
RESULTS = ROOT / "results"
REFERENCE = ROOT / "tests" / "reference"
WEIGHTS = ROOT / "data" / "weights"


class _PlainErrors(TyperGroup):
    """Say what is wrong in the words of the error, without our own traceback."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except (ValueError, OSError, RuntimeError) as error:
            typer.echo(f"aaelib: {error}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_PlainErrors,
    help="Run the study of socket shapes, and fetch its data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Profile = Annotated[str, typer.Option(help="A name in notebooks/profiles/.")]


@app.command()
def notebook(
    name: Annotated[str, typer.Argument(help="Such as 01_augmentation.")],
    profile: Profile = "default",
):
    """Execute a notebook under a profile, into results/PROFILE/notebooks/."""
    _require("notebook", name, NOTEBOOKS.glob("[0-9]*.py"))
    _require("profile", profile, NOTEBOOKS.glob("profiles/*.yaml"))
    from aaelib import report

    executed = RESULTS / profile / "notebooks" / f"{name}.ipynb"
    report.execute(NOTEBOOKS / f"{name}.py", executed, profile)


@app.command("report")
def write_report(profile: Profile = "default"):
    """Write executed notebooks as HTML, with an index, into results/PROFILE/."""
    notebooks = _executed(profile)
    from aaelib import report

    for executed in notebooks:
        report.to_html(executed, RESULTS / profile / "report" / f"{executed.stem}.html")
    report.write_index(RESULTS / profile)


@app.command()
def store(profile: Profile = "default"):
    """Store executed notebooks, reference tables, weights, and what the README shows."""
    notebooks = _executed(profile)
    from aaelib import report, verification

    for executed in notebooks:
        report.store(executed, NOTEBOOKS / executed.name)
    report.update_readme(ROOT / "README.md", RESULTS / profile)
    if profile == "study":  # no other run replaces the models that come with the repository
        report.store_weights(RESULTS / profile / "weights", WEIGHTS)
    verification.store(RESULTS / profile / "tables", REFERENCE / profile)


@app.command()
def reference(profile: Profile = "default"):
    """Store the tables of a run, and nothing else of it, in tests/reference/PROFILE/."""
    _executed(profile)
    from aaelib import verification

    verification.store(RESULTS / profile / "tables", REFERENCE / profile)


@app.command()
def verify(
    profile: Profile = "default",
    exact: Annotated[bool, typer.Option("--exact", help="Grant no cell a tolerance.")] = False,
):
    """
    Compare the tables in results/PROFILE/ with those in tests/reference/, cell by cell.

    Nothing is run. All differences are in results/PROFILE/verify.csv.
    """
    _require("profile", profile, NOTEBOOKS.glob("profiles/*.yaml"))
    from aaelib import verification

    differences, counts = verification.compare(
        RESULTS / profile / "tables",
        REFERENCE / profile,
        verification.load_tolerances(REFERENCE / "tolerances.yaml"),
    )
    verification.write(differences, RESULTS / profile / "verify.csv")
    typer.echo(verification.describe(differences, counts, exact))
    if not verification.passes(differences, exact):
        raise typer.Exit(1)


@app.command()
def explore(
    port: Annotated[int, typer.Option(help="On 127.0.0.1.")] = 8866,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
):
    """Serve the explorer of notebook 05, to this machine only, until it is interrupted."""
    from aaelib import server

    page = RESULTS / "explore" / "explorer.ipynb"
    server.write_tagged(NOTEBOOKS / "05_latent_exploration.py", "explorer", page)
    server.serve(page, NOTEBOOKS / "share", port, browser)


@app.command()
def data(
    modelnet: Annotated[
        Literal["10", "40"] | None, typer.Option(help="Download that ModelNet too.")
    ] = None,
):
    """Download the public sockets, each file checked against its sha256."""
    from aaelib import downloads

    typer.echo(downloads.download_sockets())
    if modelnet:
        typer.echo(downloads.download_modelnet(int(modelnet)))


@app.command()
def bundle():
    """Fit the bundled default, data/sockets/, to the public sockets (for maintainers)."""
    from aaelib import data, sockets

    shapes = data.load_sockets(source="SocketSSM")
    for file in data.bundle(shapes, sockets.fit_surfaces(shapes.points)):
        typer.echo(f"{file} ({file.stat().st_size / 1e3:.0f} kB)")


def _require(what, name, files):
    names = sorted(file.stem for file in files)
    if name not in names:
        raise ValueError(f"there is no {what} {name!r}: choose one of {', '.join(names)}")


def _executed(profile):
    """Return the executed notebooks of a profile, in reading order."""
    _require("profile", profile, NOTEBOOKS.glob("profiles/*.yaml"))
    candidates = [
        RESULTS / profile / "notebooks" / f"{source.stem}.ipynb"
        for source in sorted(NOTEBOOKS.glob("[0-9]*.py"))
    ]
    executed = [candidate for candidate in candidates if candidate.exists()]
    if not executed:
        raise FileNotFoundError(
            f"no executed notebook in results/{profile}/notebooks: "
            f"run `make reproduce PROFILE={profile}` first"
        )
    return executed
