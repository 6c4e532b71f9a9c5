"""The command line, ``python -m aaelib``: thin commands over the modules that do the work."""

import importlib
import os
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.core import TyperGroup

from ..shapes.places import DATA, NOTEBOOKS, RESULTS, ROOT

REFERENCE = ROOT / "tests" / "reference"
WEIGHTS = DATA / "weights"


class _PlainErrors(TyperGroup):
    """Say what is wrong in the words of the error or warning, without our own traceback."""

    def invoke(self, ctx):
        try:
            with warnings.catch_warnings():  # which puts back what shows them
                warnings.showwarning = _told(warnings.showwarning)
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort):  # they are RuntimeErrors, too, but not of ours
            raise
        except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
            typer.echo(f"aaelib: {error}", err=True)
            raise typer.Exit(1) from error


def _told(show):
    """Show what a user is warned of without file and line of ours; the rest as before."""

    def tell(message, category, *where):
        if category is UserWarning:
            typer.echo(f"aaelib: warning: {message}", err=True)
        else:
            show(message, category, *where)

    return tell


app = typer.Typer(
    cls=_PlainErrors,
    help="Train and use generative models on shapes of your own, and run the study of sockets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


Option = typer.Option
Profile = Annotated[str, Option(help="A name in notebooks/profiles/.")]

_OWN, _STUDY = "On shapes of your own", "The study"
Folder = Annotated[
    Path,
    typer.Argument(
        help="Clouds (.npy, n x 3) or meshes; the class of a shape is its first sub-folder."
    ),
]
Model = Annotated[str, typer.Argument(help="A .keras or .npz file, 'sockets' or 'pretrained'.")]
Seed = Annotated[int, Option(min=0, help="Of every draw: the same seed, the same result.")]
Mesh = Annotated[
    Literal["stl", "3mf", "ply"] | None,
    Option(help="Write closed walls to print as well: for models of sockets in mm."),
]
Thickness = Annotated[float, Option(help="Of walls, mm: above 0, up to 20.")]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace the shapes that OUT holds.")]


def _show_version(wanted: bool):
    if wanted:
        typer.echo(version("aaelib"))
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        Option("--version", callback=_show_version, is_eager=True, help="Say which it is."),
    ] = False,
):
    # TensorFlow logs that there is no GPU as an error; what really fails raises an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@app.command(rich_help_panel=_OWN)
def resample(
    source: Annotated[Path, typer.Argument(help="Folder of meshes, any format trimesh reads.")],
    target: Annotated[Path, typer.Argument(help="For the same tree of clouds (.npy, float32).")],
    points: Annotated[int, Option(min=1, help="Of each cloud.")] = 2048,
    seed: Seed = 0,
    workers: Annotated[
        int | None, Option(min=1, help="Processes; as many as there are cores by default.")
    ] = None,
    suffix: Annotated[
        list[str] | None, Option(help="Take these files only, such as .off; repeat for several.")
    ] = None,
):
    """
    Put evenly spread points on every mesh of a tree.

    Files that can't be read are left out and listed. A cloud of an earlier call is kept if it is
    newer than its mesh and has the same settings, and removed if its mesh is refused now. Clouds
    without a mesh in the source are listed and stay.
    """
    from aaelib.shapes import resampling

    found = resampling.resample_tree(source, target, points, seed, workers, suffix or None)
    _list_refused(found.refused)
    for cloud in found.removed:
        typer.echo(f"{cloud}: removed, as its mesh is refused", err=True)
    for cloud in found.left_over:
        typer.echo(f"{cloud}: left over, as it has no mesh in {source}", err=True)
    typer.echo(
        f"{target}: {len(found.written)} written, {len(found.kept)} kept, {len(found.refused)} "
        f"refused, {len(found.removed)} removed, {len(found.left_over)} left over; "
        f"{found.shapes_per_second:.1f} shapes a second"
    )
    if not (found.written or found.kept):
        raise typer.Exit(1)


# The options of `train`, by what they are about.
RecipeName = Annotated[
    str, Option("--recipe", help="'compact', 'paper', or a YAML file of entries of a recipe.")
]
Changes = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change an entry of the recipe, such as code_size=32 or encoder=64,128,256.",
    ),
]
Points = Annotated[int | None, Option(min=1, help="Of each cloud; the recipe's (2048) by default.")]
Normalization = Annotated[
    Literal["dataset", "unit-sphere"] | None,
    Option(
        help="One scale for all shapes, which keeps their sizes, or each its own; by default the "
        "recipe's."
    ),
]
Split = Annotated[
    tuple[float, float, float],
    Option(metavar="TRAIN VAL TEST", help="Shares of training, validation and test, in all 1."),
]
Epochs = Annotated[int, Option(min=1, help="Each ends with a validation.")]
Steps = Annotated[
    int | None,
    Option(min=1, help="Batches of an epoch; as many as the set makes, at least 50, by default."),
]
BatchSize = Annotated[int, Option(min=1, help="Shapes of a batch.")]
SelectFrom = Annotated[
    int | None,
    Option(
        min=0,
        help="First epoch, counted from 0, that may be chosen; by default the first half may not.",
    ),
]
Rotate = Annotated[bool, Option(help="Turn shapes about z at random.")]
Jitter = Annotated[
    float,
    Option(min=0, help="Noise on coordinates: standard deviation in units of the shapes' radius."),
]
WeightsFrom = Annotated[
    str | None,
    Option(
        metavar="MODEL",
        help="Start from these weights: a .keras or .npz file, 'sockets', 'pretrained'.",
    ),
]
Networks = Annotated[
    list[str] | None,
    Option(
        "--network",
        help="Take only its encoder, decoder or discriminator; repeat it for two. Else all.",
    ),
]
Freeze = Annotated[
    list[str] | None,
    Option(
        metavar="NETWORK=LAYER",
        help="Layers of a network up to this one do not learn, such as encoder=point_4.",
    ),
]
ShapeModels = Annotated[
    float,
    Option(
        min=0,
        metavar="SHARE",
        help="Sockets in mm only: draw this share of a batch, [0, 1), from linear shape models of "
        "the training part, one a class, and let the decoder start as them.",
    ),
]


@app.command(rich_help_panel=_OWN)
def train(
    folder: Folder,
    model: Annotated[
        Path, typer.Argument(help="The .keras file to write; its history and card go beside it.")
    ],
    recipe: RecipeName = "compact",
    changes: Changes = None,
    points: Points = None,
    normalization: Normalization = None,
    split: Split = (0.8, 0.1, 0.1),
    seed: Seed = 0,
    epochs: Epochs = 10,
    steps: Steps = None,
    batch_size: BatchSize = 32,
    select_from: SelectFrom = None,
    rotate: Rotate = False,
    jitter: Jitter = 0.0,
    weights_from: WeightsFrom = None,
    network: Networks = None,
    freeze: Freeze = None,
    shape_models: ShapeModels = 0.0,
):
    """
    Train an adversarial autoencoder on a folder of shapes.

    Kept is the epoch whose samples are most like the validation shapes (by JSD). A run that was cut
    off goes on when it is started again; one that is finished is found finished. A finished run of
    other settings in its place is replaced at the end.
    """
    entries = {"n_points": points, "normalization": normalization}
    entries = {name: value for name, value in entries.items() if value is not None}
    start = {"frozen": _pairs(freeze, "--freeze")}
    start |= {"networks": tuple(network)} if network else {}
    run = _quietly("apps.own_shapes").train(
        folder,
        model,
        (recipe, _pairs(changes, "--set") | entries),
        start,
        {
            "epochs": epochs,
            "steps_per_epoch": steps,
            "batch_size": batch_size,
            "first_selectable": select_from,
            "rotate": rotate,
            "jitter": jitter,
            "seed": seed,
        },
        shares=split,
        share=shape_models,
        weights_from=weights_from,
    )
    counts = ", ".join(f"{len(names)} {part}" for part, names in run.card["split"].items())
    best = run.history.loc[run.best_epoch]
    typer.echo(
        f"{model}: {counts} shapes; epoch {run.best_epoch} of {len(run.history)} is the best, "
        f"validation JSD {best.val_jsd:.4f}, Chamfer distance {best.val_chamfer:.3g} (normalized)"
    )


@app.command(rich_help_panel=_OWN)
def evaluate(
    model: Model,
    folder: Folder,
    out: Annotated[Path, Option(help="Folder for index.html, metrics.json and errors.csv.")],
    everything: Annotated[
        bool,
        Option(
            "--all",
            help="Shapes that the model was trained on, or selected by, or that in another folder "
            "have names of such, as well.",
        ),
    ] = False,
    draws: Annotated[int, Option(min=1, help="Of samples, 3 for each shape in each draw.")] = 3,
    seed: Annotated[int, Option(min=0, help="Of the first draw, then the next.")] = 1000,
    limit: Annotated[
        int,
        Option(
            min=2,
            help="Shapes at most, and 10 times as many training shapes for the baselines; time "
            "grows with its square.",
        ),
    ] = 200,
    sockets: Annotated[
        bool | None,
        Option(
            "--sockets/--no-sockets",
            help="Shapes are sockets in mm, z up: errors on surfaces, linear shape models; by "
            "default if all classes are TT or TF.",
        ),
    ] = None,
):
    """
    Measure what a model reconstructs and generates, beside baselines.

    By default on shapes that it has not seen, as the card beside the model tells.
    """
    runs = _quietly("models.runs")
    from aaelib.shapes import load_clouds
    from aaelib.study import model_report

    n_points = runs.load_with_card(model)[0].recipe.n_points
    shapes = load_clouds(folder, n_points)
    found = model_report.evaluate(model, shapes, draws, seed, everything, sockets, limit)
    page = found.write(out)
    typer.echo(found.about["which"])
    typer.echo(found.table.T.to_markdown())
    typer.echo(page)


@app.command(rich_help_panel=_OWN)
def generate(
    model: Model,
    n: Annotated[int, typer.Argument(min=1, help="How many.")],
    out: Annotated[
        Path,
        typer.Argument(
            help="Empty folder for clouds (.npy, n x 3) in the unit of the model's training shapes "
            "(in the unit sphere if it normalizes each to that)."
        ),
    ],
    seed: Seed = 0,
    mesh: Mesh = None,
    thickness: Thickness = 4.0,
    overwrite: Overwrite = False,
):
    """Draw new shapes."""
    _tell(*_quietly("apps.outputs").generate(model, n, out, seed, mesh, thickness, overwrite))


@app.command(rich_help_panel=_OWN)
def interpolate(
    model: Model,
    a: Annotated[Path, typer.Argument(help="A cloud (.npy) or a mesh, where to start.")],
    b: Annotated[Path, typer.Argument(help="Where to end.")],
    out: Annotated[Path, typer.Argument(help="Empty folder for clouds and a page with a slider.")],
    steps: Annotated[int, Option(min=2, help="Shapes, both ends included.")] = 5,
    mesh: Mesh = None,
    thickness: Thickness = 4.0,
    overwrite: Overwrite = False,
):
    """Walk from one shape to another."""
    outputs = _quietly("apps.outputs")
    _tell(*outputs.interpolate(model, a, b, out, steps, mesh, thickness, overwrite))


@app.command(rich_help_panel=_OWN)
def export(
    source: Annotated[
        str, typer.Argument(help="A socket's cloud (.npy) or mesh, mm, z up; or a model (.keras).")
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help="Its suffix says what: .stl, .3mf or .ply a closed wall, .csv measures (mm), .npz "
            "weights of a model."
        ),
    ],
    thickness: Thickness = 4.0,
    smoothing: Annotated[
        float, Option(min=0, help="Of the surface; 0 passes through all points.")
    ] = 0.1,
    points: Annotated[
        int, Option(min=100, help="To fit the surface to; a cloud must have as many.")
    ] = 2048,
):
    """Take home a socket to print, its measures, or a model's weights."""
    typer.echo(_quietly("apps.outputs").export(source, out, thickness, smoothing, points))


@app.command(rich_help_panel=_STUDY)
def notebook(
    name: Annotated[str, typer.Argument(help="Such as 01_augmentation.")],
    profile: Profile = "default",
):
    """
    Execute a notebook under a profile, into results/PROFILE/notebooks/.

    One that is up to date is left as it is: what counts are its cells, the code that it uses, the
    profile, the shapes, the packages, and the notebooks whose results it reads.
    """
    _require("notebook", name, NOTEBOOKS.glob("[0-9]*.py"))
    _require("profile", profile, NOTEBOOKS.glob("profiles/*.yaml"))
    from ..study import execution

    execution.run(name, profile, typer.echo)


@app.command(rich_help_panel=_STUDY)
def pair():
    """Give each .ipynb and its .py script the cells of whichever was edited."""
    from ..study import execution

    for script in sorted(NOTEBOOKS.glob("[0-9]*.py")):
        is_paired = script.with_suffix(".ipynb").exists()
        (execution.synchronize if is_paired else execution.create)(script)


@app.command("report", rich_help_panel=_STUDY)
def write_report(profile: Profile = "default"):
    """Write executed notebooks as HTML, with an index, into results/PROFILE/."""
    notebooks = _executed(profile)
    from ..study import report

    for executed in notebooks:
        report.to_html(executed, RESULTS / profile / "report" / f"{executed.stem}.html")
    report.write_index(RESULTS / profile)


@app.command(rich_help_panel=_STUDY)
def store(profile: Profile = "default"):
    """Store executed notebooks, reference tables, weights, and what the README shows."""
    notebooks = _executed(profile)
    from ..study import report, verification

    for executed in notebooks:
        report.store(executed, NOTEBOOKS / executed.name)
    report.update_readme(ROOT / "README.md", RESULTS / profile)
    if profile == "study":  # no other run replaces the models that come with the repository
        report.store_weights(RESULTS / profile / "weights", WEIGHTS)
    tables = RESULTS / profile / "tables"
    verification.store(tables, verification.reference_of(tables, REFERENCE, profile))


@app.command(rich_help_panel=_STUDY)
def reference(profile: Profile = "default"):
    """Store the tables of a run, and nothing else of it, in tests/reference/PROFILE/."""
    _executed(profile)
    from ..study import verification

    tables = RESULTS / profile / "tables"
    verification.store(tables, verification.reference_of(tables, REFERENCE, profile))


@app.command(rich_help_panel=_STUDY)
def verify(
    profile: Profile = "default",
    exact: Annotated[bool, Option("--exact", help="Grant no cell a tolerance.")] = False,
):
    """
    Compare the tables in results/PROFILE/ with those in tests/reference/, cell by cell.

    Nothing is run. All differences are in results/PROFILE/verify.csv.
    """
    _require("profile", profile, NOTEBOOKS.glob("profiles/*.yaml"))
    from ..study import verification

    tables = RESULTS / profile / "tables"
    differences, counts = verification.compare(
        tables,
        verification.reference_of(tables, REFERENCE, profile),
        verification.load_tolerances(REFERENCE / "tolerances.yaml"),
    )
    verification.write(differences, RESULTS / profile / "verify.csv")
    typer.echo(verification.describe(differences, counts, exact))
    if not verification.passes(differences, exact):
        raise typer.Exit(1)


@app.command(rich_help_panel=_STUDY)
def explore(
    port: Annotated[int, Option(help="On 127.0.0.1.")] = 8866,
    browser: Annotated[bool, Option(help="Open the page in a browser.")] = True,
):
    """Serve the explorer of notebook 05, to this machine only, until it is interrupted."""
    from . import server

    # A checkout may be for reading only.
    folder = RESULTS / "explore" if os.access(ROOT, os.W_OK) else Path(tempfile.mkdtemp())
    page = folder / "explorer.ipynb"
    server.write_tagged(NOTEBOOKS / "05_latent_exploration.py", "explorer", page)
    server.serve(page, NOTEBOOKS / "share", port, browser)


@app.command(rich_help_panel=_STUDY)
def data(
    modelnet: Annotated[
        Literal["10", "40"] | None, Option(help="Download that ModelNet too.")
    ] = None,
):
    """Download the public sockets, each file checked against its sha256."""
    from ..shapes import downloads

    typer.echo(downloads.download_sockets())
    if modelnet:
        typer.echo(downloads.download_modelnet(int(modelnet)))


@app.command(rich_help_panel=_STUDY)
def bundle():
    """Fit the bundled default, data/sockets/, to the public sockets (for maintainers)."""
    from ..shapes import sockets, sources

    shapes = sources.load_sockets(source="SocketSSM")
    for file in sources.bundle(shapes, sockets.fit_surfaces(shapes.points)):
        typer.echo(f"{file} ({file.stat().st_size / 1e3:.0f} kB)")


def _quietly(module):
    """Import a module of aaelib without what TensorFlow logs while it is imported."""
    standard_error = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        return importlib.import_module(f"aaelib.{module}")
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def _pairs(texts, option):
    """``KEY=VALUE`` texts as a dict."""
    for text in texts or ():
        if not all(text.partition("=")[::2]):
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=option)
    return dict(text.split("=", 1) for text in texts or ())


def _tell(files, refused):
    _list_refused(refused)
    typer.echo(f"{len(files)} files in {files[0].parent}")


def _list_refused(refused):
    for path, reason in refused:
        # Reasons often name the file themselves.
        typer.echo(reason if str(path) in reason else f"{path}: {reason}", err=True)


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
