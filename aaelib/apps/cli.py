"""The command line, ``python -m aaelib``: thin commands over the modules that do the work."""

import inspect
import os
import sys
import warnings
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Annotated, Literal

import typer
from numpydoc.docscrape import NumpyDocString
from typer import Argument, Option
from typer.core import TyperCommand, TyperGroup

from ..shapes.places import DATA, NOTEBOOKS, RESULTS, ROOT
from .messages import certainty, leg, told

REFERENCE = ROOT / "tests" / "reference"
WEIGHTS = DATA / "weights"


class _Commands(TyperGroup):
    """A group of commands that prints an error or a warning as one line, without a traceback."""

    def invoke(self, ctx):
        try:
            with warnings.catch_warnings(action="default", category=UserWarning):
                warnings.showwarning = _warn
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort):  # they are RuntimeErrors, too, but not of ours
            raise
        except Exception as error:
            typer.echo(f"aaelib: {told(error)}", err=True)
            raise typer.Exit(1) from error


def _warn(message, *_, **__):
    typer.echo(f"aaelib: warning: {message}", err=True)


class _Command(TyperCommand):
    """A command that takes its help, and that of its parameters, from a numpydoc docstring."""

    def __init__(self, *arguments, callback, **others):
        super().__init__(*arguments, callback=callback, **others)
        text = NumpyDocString(inspect.getdoc(callback))
        self.help = "\n".join([*text["Summary"], "", *text["Extended Summary"]])
        described = {each.name: " ".join(each.desc) for each in text["Parameters"]}
        for parameter in self.params:
            parameter.help = described.get(parameter.name, parameter.help)


_help = "Train and use generative models on shapes of your own, and run the study of sockets."
_look = {"no_args_is_help": True, "add_completion": False, "pretty_exceptions_enable": False}
app = typer.Typer(cls=_Commands, help=_help, **_look)


def _one_of(what, pattern):
    """Check of an argument: it names a file of notebooks/ that matches a pattern."""

    def checked(name: str):
        names = sorted(file.stem for file in NOTEBOOKS.glob(pattern))
        if name not in names:
            raise ValueError(f"there is no {what} {name!r}: choose one of {', '.join(names)}")
        return name

    return checked


_own = partial(app.command, cls=_Command, rich_help_panel="On shapes of your own")
_study = partial(app.command, cls=_Command, rich_help_panel="The study")

Count = Annotated[int, Option(min=1)]
MaybeCount = Annotated[int | None, Option(min=1)]
Amount = Annotated[float, Option(min=0)]
Shares = Annotated[tuple[float, float, float], Option(metavar="TRAIN VAL TEST")]
_profiles = _one_of("profile", "profiles/*.yaml")
Profile = Annotated[str, Option(help="A name in notebooks/profiles/.", callback=_profiles)]
Notebook = Annotated[str, Argument(callback=_one_of("notebook", "[0-9]*.py"))]
Folder = Annotated[Path, Argument(help="Clouds (.npy) or meshes; a sub-folder holds a class.")]
Model = Annotated[str, Argument(help="A .keras or .npz file, 'sockets' or 'pretrained'.")]
Seed = Annotated[int, Option(min=0, help="Of every draw: the same seed, the same result.")]
_walls = Option(help="Write closed walls to print as well: for models of sockets in mm.")
Mesh = Annotated[Literal["stl", "3mf", "ply"] | None, _walls]
Thickness = Annotated[float, Option(help="Of walls, mm: above 0, up to 20.")]
Axis = Literal["x", "y", "z", "-x", "-y", "-z"]
Up = Annotated[Axis | None, Option(help="Axis of shapes, from closed end to brim: it becomes z.")]
Unit = Annotated[Literal["mm", "cm", "inch", "m"] | None, Option(help="Of shapes: they become mm.")]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace the shapes that OUT holds.")]


def _show_version(wanted: bool):
    if wanted:
        typer.echo(metadata.version("aaelib"))
        raise typer.Exit


Version = Annotated[bool, Option("--version", callback=_show_version, help="Say which it is.")]


@app.callback()
def main(version: Version = False):
    # TensorFlow logs that there is no GPU as an error; what really fails raises an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Matrices are small: threads would wait for each other, and longest where cores are busy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.stdout.reconfigure(errors="backslashreplace")  # names of folders may be no UTF-8


@_own()
def resample(
    source: Path,
    target: Path,
    points: Count = 2048,
    seed: Seed = 0,
    workers: MaybeCount = None,
    suffix: list[str] | None = None,
    up: Up = None,
    unit: Unit = None,
):
    """
    Put evenly spread points on every mesh of a tree.

    Files that can't be read are left out and listed. A cloud of an earlier call is kept if it was
    made of the same file with the same settings, and removed if its mesh is refused now. Clouds
    without a mesh in the source are listed and stay.

    Parameters
    ----------
    source
        Folder of meshes, any format trimesh reads.
    target
        For the same tree of clouds (.npy, float32).
    points
        Of each cloud.
    workers
        Processes; as many as there are cores by default.
    suffix
        Take these files only, such as .off; repeat for several.
    """
    from aaelib.shapes import resampling

    found = resampling.resample_tree(source, target, points, seed, workers, suffix, up, unit)
    told = [(cloud, "removed, as its mesh is refused") for cloud in found.removed]
    told += [(cloud, f"left over, as it has no mesh in {source}") for cloud in found.left_over]
    _list_refused([*found.refused, *told])
    counts = ("written", "kept", "refused", "removed", "left_over")
    counts = ", ".join(f"{len(getattr(found, each))} {each.replace('_', ' ')}" for each in counts)
    typer.echo(
        f"{target}: {counts}; {found.shapes_per_second:.1f} shapes a second{_passed(source)}"
    )
    if not found.clouds:
        raise typer.Exit(1)


@_own()
def train(
    folder: Folder,
    model: Path,
    recipe: str = "compact",
    changes: Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE")] = None,
    points: MaybeCount = None,
    normalization: Literal["dataset", "unit-sphere"] | None = None,
    split: Shares = (0.8, 0.1, 0.1),
    seed: Seed = 0,
    epochs: Count = 10,
    steps: MaybeCount = None,
    batch_size: Count = 32,
    select_from: Annotated[int | None, Option(min=0)] = None,
    rotate: bool = False,
    jitter: Amount = 0.0,
    weights_from: Annotated[str | None, Option(metavar="MODEL")] = None,
    network: list[str] | None = None,
    freeze: Annotated[list[str] | None, Option(metavar="NETWORK=LAYER")] = None,
    freeze_layers: Annotated[tuple[int, int, int] | None, Option(metavar="E D C")] = None,
    shape_models: Annotated[float, Option(min=0, max=1, metavar="SHARE")] = 0.0,
    up: Up = None,
    unit: Unit = None,
):
    """
    Train an adversarial autoencoder on a folder of shapes.

    Kept is the epoch whose samples are most like the validation shapes (by JSD). A run that was cut
    off goes on when it is started again; one that is finished is found finished. A finished run of
    other settings in its place is replaced at the end: to train a model for longer, start from its
    weights (--weights-from) and write to another file.

    Parameters
    ----------
    model
        The .keras file to write; its history and card go beside it.
    recipe
        'compact', 'paper', or a YAML file of entries of a recipe.
    changes
        Change an entry of the recipe, such as code_size=32 or encoder=64,128,256.
    points
        Of each cloud; the recipe's (2048) by default.
    normalization
        One scale for all shapes, which keeps their sizes, or each its own; by default the recipe's.
    split
        Shares of training, validation and test, in all 1.
    epochs
        Each ends with a validation.
    steps
        Batches of an epoch; as many as the set makes, at least 50, by default.
    batch_size
        Shapes of a batch.
    select_from
        First epoch, counted from 0, that may be chosen; by default the first half may not.
    rotate
        Turn shapes about z at random.
    jitter
        Noise on coordinates: standard deviation in units of the shapes' radius.
    weights_from
        Start from these weights: a .keras or .npz file, 'sockets', or 'pretrained', of which there
        is one for the recipe 'compact' and one for 'paper'.
    network
        Take only its encoder, decoder or discriminator; repeat it for two. Else all.
    freeze
        Layers of a network up to this one do not learn, such as encoder=point_4.
    freeze_layers
        How many layers with weights of the encoder, the decoder and the discriminator do not learn,
        counted from the first.
    shape_models
        Sockets in mm only: draw this share of a batch, [0, 1], from linear shape models of the
        training part, one a class, and let the decoder start as them.
    """
    entries = {"n_points": points, "normalization": normalization}
    entries = {name: value for name, value in entries.items() if value is not None}
    chosen = recipe, _pairs(changes, "--set") | entries
    counted = dict(zip(("encoder", "decoder", "discriminator"), freeze_layers or (), strict=False))
    start = {"frozen": {**counted, **_pairs(freeze, "--freeze")}}
    start |= {"networks": tuple(network)} if network else {}
    settings = {"epochs": epochs, "steps_per_epoch": steps, "batch_size": batch_size, "seed": seed}
    settings |= {"first_selectable": select_from, "rotate": rotate, "jitter": jitter}
    others = {"shares": split, "share": shape_models, "weights_from": weights_from, "unit": unit}
    run = _quietly("apps.own_shapes").train(folder, model, chosen, start, settings, up=up, **others)
    counts = ", ".join(f"{len(names)} {part}" for part, names in run.card["split"].items())
    best = run.history.loc[run.best_epoch]
    typer.echo(
        f"{model}: {counts} shapes; epoch {run.best_epoch} of {len(run.history)} is the best, "
        f"validation JSD {best.val_jsd:.4f}, Chamfer distance {best.val_chamfer:.3g} (normalized)"
        f"{_passed(folder)}"
    )


@_own()
def evaluate(
    model: Model,
    folder: Folder,
    out: Annotated[Path, Option()],
    everything: Annotated[bool, Option("--all")] = False,
    draws: Count = 3,
    seed: Annotated[int, Option(min=0)] = 1000,
    limit: Annotated[int, Option(min=2)] = 200,
    sockets: bool | None = None,
    up: Up = None,
    unit: Unit = None,
):
    """
    Measure what a model reconstructs and generates, beside baselines.

    By default on shapes that it has not seen, as the card beside the model tells.

    Parameters
    ----------
    out
        Folder for index.html, metrics.json, errors.csv and, where there is Chrome or Chromium,
        the figures as pictures; those of something else stay.
    everything
        Shapes that the model was trained on, or selected by, or that in another folder have names
        of such, as well.
    draws
        Of samples, 3 for each shape in each draw.
    seed
        Of the first draw, then the next.
    limit
        Shapes at most, and 10 times as many training shapes for the baselines; time grows with its
        square.
    sockets
        Shapes are sockets in mm, z up: errors on surfaces, linear shape models; by default if all
        classes are TT or TF.
    up
        Axis of the shapes that becomes z; by default as the model was trained.
    unit
        Of the shapes; by default as the model was trained.
    """
    files = [out / name for name in ("metrics.json", "errors.csv", "index.html", "pictures")]
    is_ours = files[0].is_file() and b'"memorising"' in files[0].read_bytes()
    if any(file.exists() for file in files) and not is_ours:
        raise FileExistsError(f"{out} has a page or numbers of something else: name another folder")
    runs = _quietly("models.runs")
    from aaelib.shapes import load_clouds
    from aaelib.study import model_report

    aae, card = runs.load_with_card(model)[:2]
    about = up or card.get("up"), unit or card.get("unit")
    shapes = load_clouds(folder, aae.recipe.n_points).placed(*about)
    found = model_report.evaluate(model, shapes, draws, seed, everything, sockets, limit)
    page, table = found.write(out), found.table.T.to_markdown()
    typer.echo(f"{found.about['which']}\n{table}\n{page}{_passed(folder)}")
    found.draw(out)


@_own()
def compare(
    generated: Path,
    reference: Path,
    points: Count = 2048,
    normalization: Literal["unit-sphere", "dataset"] = "unit-sphere",
):
    """
    Measure how like reference shapes generated ones are, whatever model made them.

    Parameters
    ----------
    generated
        A folder of clouds or meshes, or a .npy array (n, points, 3).
    reference
        The same; best as many shapes, which the model has not seen.
    points
        Of each cloud of a folder; arrays are taken as they are.
    normalization
        Each shape to its own unit sphere, or all by the largest radius, which keeps their sizes.
    """
    from . import comparison

    found = comparison.compare(generated, reference, points, normalization)
    typer.echo(found.to_markdown())
    for each in filter(Path.is_dir, (generated, reference)):
        typer.echo(f"{each}{_passed(each)}", err=True)


@_own()
def generate(
    model: Model,
    n: Annotated[int, Argument(min=1)],
    out: Path,
    seed: Seed = 0,
    mesh: Mesh = None,
    thickness: Thickness = 4.0,
    overwrite: Overwrite = False,
):
    """
    Draw new shapes.

    Parameters
    ----------
    n
        How many.
    out
        Empty folder for clouds (.npy, n x 3) in the unit of the model's training shapes (in the
        unit sphere if it normalizes each to that).
    """
    _tell(*_quietly("apps.outputs").generate(model, n, out, seed, mesh, thickness, overwrite))


@_own()
def interpolate(
    model: Model,
    a: Path,
    b: Path,
    out: Path,
    steps: Annotated[int, Option(min=2)] = 5,
    mesh: Mesh = None,
    thickness: Thickness = 4.0,
    overwrite: Overwrite = False,
):
    """
    Walk from one shape to another.

    Parameters
    ----------
    a
        A cloud (.npy) or a mesh, where to start.
    b
        Where to end.
    out
        Empty folder for clouds and a page with a slider.
    steps
        Shapes, both ends included.
    """
    outputs = _quietly("apps.outputs")
    _tell(*outputs.interpolate(model, a, b, out, steps, mesh, thickness, overwrite))


@_own()
def export(
    source: str,
    out: Path,
    thickness: Thickness = 4.0,
    smoothing: Amount = 0.1,
    points: Annotated[int, Option(min=100)] = 2048,
    up: Up = None,
    unit: Unit = None,
):
    """
    Take home a socket to print, its measures, or a model's weights.

    Parameters
    ----------
    source
        The cloud (.npy) or mesh of a socket's inner surface; or a model (.keras).
    out
        Its suffix says what: .stl, .3mf or .ply a closed wall, .csv measures (mm), .npz weights of
        a model.
    smoothing
        Of the surface; 0 passes through all points.
    points
        To fit the surface to; a cloud must have as many.
    """
    typer.echo(_quietly("apps.outputs").export(source, out, thickness, smoothing, points, up, unit))


@_own()
def complete(
    scan: Path,
    out: Annotated[Path, Option()],
    model: str = "sockets",
    thickness: Thickness = 4.0,
    up: Up = None,
    unit: Unit = None,
):
    """
    Make a whole socket of a scan: noisy, tilted, cut off, of either leg.

    Parts that the scan has are followed, parts that are missing are as the model knows sockets.

    Parameters
    ----------
    scan
        A cloud (.npy) or a mesh of a socket's inner surface, its brim about upwards.
    out
        Its suffix says what: .stl, .3mf or .ply a wall where the scan is (turned, in mm), .csv
        measures.
    model
        'sockets', or a .keras or .npz file of a model of sockets.
    """
    found, distance, left = _quietly("apps.outputs").complete(model, scan, out, thickness, up, unit)
    typer.echo(
        f"{out}: a socket ({leg(found.kind, found.side)}); half of the scan's points are within "
        f"{distance:.2f} mm of it. {certainty(*left.half_widths)}"
    )


@_study()
def notebook(name: Notebook, profile: Profile = "default"):
    """
    Execute a notebook under a profile, into results/PROFILE/notebooks/.

    One that is up to date is left as it is: what counts are its cells, the code that it uses, the
    profile, the shapes, the packages, and the notebooks whose results it reads.

    Parameters
    ----------
    name
        Such as 01_augmentation.
    """
    from ..study import execution

    execution.run(name, profile, typer.echo)


@_study()
def pair():
    """Give each .ipynb and its .py script the cells of whichever was edited."""
    from ..study import execution

    for script in _notebooks():
        is_paired = script.with_suffix(".ipynb").exists()
        (execution.synchronize if is_paired else execution.create)(script)


@_study("site")
def write_site(profile: Profile = "default"):
    """Write the site of a run into results/PROFILE/, with stored notebooks for those not run."""
    from ..study import site
    from . import page

    front, own = site.build(RESULTS / profile), RESULTS / profile / "weights" / "sockets.npz"
    page.write(front.with_name("explorer.html"), own if own.exists() else "sockets")
    typer.echo(f"The site: {front}")


@_study()
def store(profile: Profile = "default"):
    """Store executed notebooks, reference tables, weights, and what the README shows."""
    notebooks = _executed(profile)
    from ..study import execution, site

    # A notebook of this profile alone is all that is stored of it, and the README shows others.
    scripts = {each: NOTEBOOKS / f"{each.stem}.py" for each in notebooks}
    own = [each for each, script in scripts.items() if execution.profile_of(script) == profile]
    for executed in own or notebooks:
        site.store(executed, NOTEBOOKS / executed.name)
    if not own:
        site.update_readme(ROOT / "README.md", RESULTS / profile)
    if profile == "study":  # no other run replaces the models that come with the repository
        site.store_weights(RESULTS / profile / "weights", WEIGHTS)
    reference(profile)


@_study()
def reference(profile: Profile = "default"):
    """Store the tables of a run, and nothing else of it, in tests/reference/PROFILE/."""
    _executed(profile)
    from ..study import verification

    tables = RESULTS / profile / "tables"
    verification.store(tables, verification.reference_of(tables, REFERENCE, profile))


@_study()
def verify(profile: Profile = "default", exact: Annotated[bool, Option("--exact")] = False):
    """
    Compare the tables in results/PROFILE/ with those in tests/reference/, cell by cell.

    Nothing is run. All differences are in results/PROFILE/verify.csv.

    Parameters
    ----------
    exact
        Grant no cell a tolerance.
    """
    from ..study import verification

    tables = RESULTS / profile / "tables"
    known = verification.reference_of(tables, REFERENCE, profile)
    tolerances = verification.load_tolerances(REFERENCE / "tolerances.yaml")
    differences, counts = verification.compare(tables, known, tolerances)
    verification.write(differences, RESULTS / profile / "verify.csv")
    typer.echo(verification.describe(differences, counts, exact))
    if not verification.passes(differences, exact):
        raise typer.Exit(1)


@_study()
def explore(port: int = 8866, browser: bool = True):
    """
    Serve the explorer of notebook 05, to this machine only, until it is interrupted.

    Parameters
    ----------
    port
        On 127.0.0.1.
    browser
        Open the page in a browser.
    """
    from . import server

    server.explore(port, browser)


@_study()
def data(modelnet: Literal["10", "40"] | None = None):
    """
    Download the public sockets, each file checked against its sha256.

    Parameters
    ----------
    modelnet
        Download that ModelNet too.
    """
    from ..shapes import downloads

    typer.echo(downloads.download_sockets())
    if modelnet:
        typer.echo(downloads.download_modelnet(int(modelnet)))


@_study()
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
        return import_module(f"aaelib.{module}")
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def _pairs(texts, option):
    """``KEY=VALUE`` texts as a dict."""
    for text in texts or ():
        if not all(text.partition("=")[::2]):
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=option)
    return dict(text.split("=", 1) for text in texts or ())


def _passed(folder):
    """Count the files of a folder that are no shapes, in words."""
    from aaelib.shapes import folders

    return f"; passed over: {folders.passed_over(folder) or 'nothing'}"


def _tell(files, refused):
    _list_refused(refused)
    typer.echo(f"{len(files)} files in {files[0].parent}")


def _list_refused(refused):
    for path, reason in refused:
        # Reasons often name the file themselves.
        typer.echo(reason if str(path) in reason else f"{path}: {reason}", err=True)


def _executed(profile):
    """Return the executed notebooks of a profile, in reading order."""
    folder = RESULTS / profile / "notebooks"
    candidates = [folder / f"{source.stem}.ipynb" for source in _notebooks()]
    if executed := [candidate for candidate in candidates if candidate.exists()]:
        return executed
    first = f"run `make reproduce PROFILE={profile}` first"
    raise FileNotFoundError(f"no executed notebook in {folder}: {first}")


def _notebooks():
    return sorted(NOTEBOOKS.glob("[0-9]*.py"))
