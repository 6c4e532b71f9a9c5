"""
Fuzz the readers of files (atheris): whatever a file holds, it is read, or refused by name.

    python tests/fuzz/fuzz_readers.py TARGET [-max_total_time=SECONDS] [-atheris_runs=N] [FILE ...]

TARGET is one of `TARGETS`; without one they are listed. Options are libFuzzer's. With files, it
runs those only, such as the `crash-...` that it writes when a reader fails: raises anything but a
ValueError or an OSError that names the file, leaves something behind, takes a minute or 6 GB.
"""

import atexit
import io
import random
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Where new branches are looked for; without modules that Numba compiles.
INSTRUMENTED = ["aaelib", "trimesh", "yaml"]
COMPILED = ["aaelib.metrics.neighbors"]
LIMITS = ["-timeout=60", "-rss_limit_mb=6000"]

MESHES = ("off", "obj", "stl", "ply", "glb", "gltf", "3mf")


@dataclass(frozen=True)
class Target:
    """
    A reader, and files for it to begin with.

    Attributes
    ----------
    suffix : str
        Of the file.
    read : callable
        Of its path. What is refused is a ValueError or an OSError that names it.
    seeds : callable
        Of a folder to write into; the contents of small files that are read.
    packed : bool
        Whether files are zip archives: then members are changed, and their checksums with them.
    """

    suffix: str
    read: Callable
    seeds: Callable
    packed: bool = False


# Targets --------------------------------------------------------------------------------------


def read_cloud(path):
    from aaelib.shapes import folders

    points = folders.load_clouds(path.parent, 4).points
    assert points.shape == (1, 4, 3)
    assert np.isfinite(points).all()


def cloud_seeds(_):
    for dtype in ("f2", "f4", "f8", ">f8", "i4"):
        stream = io.BytesIO()
        np.save(stream, np.asarray(np.arange(18.0).reshape(6, 3), dtype, order="F"))
        yield stream.getvalue()


def read_mesh(path):
    from aaelib.shapes.clouds import resample

    points = resample(path, 4)
    assert points.shape == (4, 3)
    assert np.isfinite(points).all()


def mesh_seeds(suffix):
    def seeds(_):
        import trimesh

        box = trimesh.creation.box()
        if suffix == "gltf":
            files = trimesh.exchange.gltf.export_gltf(box.scene(), embed_buffers=True)
            yield files["model.gltf"]
        else:
            yield text(box.export(file_type=suffix))
        if suffix == "stl":  # that above is binary, as is that of PLY
            yield text(box.export(file_type="stl_ascii"))
        if suffix == "ply":
            yield text(box.export(file_type="ply", encoding="ascii"))
        if suffix == "off":
            yield b"OFF3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"

    return seeds


def read_limb(path):
    from aaelib.apps import limbs

    limb = limbs.load_limb(path)
    assert limb.is_winding_consistent


def limb_seeds(_):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from analytic import socket

    yield socket(n_angles=8, n_heights=6).mesh().export(file_type="stl")


def read_recipe(path):
    from aaelib.models import recipes

    recipes.recipe(path)


def recipe_seeds(_):
    yield b"code_size: 32\nencoder: [64, 128]\nautoencoder_rate: 1e-3\n"
    yield b"base: paper\nname: mine\nencoder_points: null\ntnets: true\nreduction: mean\n"
    yield b"{prior_std: 0.2, decoder: &d [8, 16], discriminator: *d, precision: float32}\n"


def read_model(path):
    import keras

    from aaelib.models import files

    try:
        files.load(path)
    finally:
        keras.utils.clear_session()


def model_seeds(suffix):
    def seeds(folder):
        from aaelib.models import autoencoder, exported, recipes

        layers = {"encoder": (4,), "decoder": (4,), "discriminator": (4,), "encoder_points": None}
        recipe = recipes.recipe("compact", n_points=8, code_size=2, **layers)
        aae = autoencoder.AdversarialAutoencoder(recipe)
        aae.compile()
        file = folder / f"model{suffix}"
        aae.save(file) if suffix == ".keras" else exported.export_weights(aae, file)
        yield file.read_bytes()

    return seeds


def read_shape_model(path):
    from aaelib.shapes.shape_model import ShapeModel

    assert len(ShapeModel.load(path).sample(1)) == 1


def shape_model_seeds(folder):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from analytic import socket

    from aaelib.shapes.shape_model import ShapeModel

    surfaces = [socket(length, n_angles=4, n_heights=3) for length in (150, 200, 220)]
    for template in (None, surfaces[0]):
        ShapeModel.fit(surfaces, template=template).save(folder / "model.npz")
        yield (folder / "model.npz").read_bytes()


TARGETS = {
    "clouds": Target(".npy", read_cloud, cloud_seeds),
    **{f"mesh-{s}": Target(f".{s}", read_mesh, mesh_seeds(s), s == "3mf") for s in MESHES},
    "limb": Target(".stl", read_limb, limb_seeds),
    "recipe": Target(".yaml", read_recipe, recipe_seeds),
    "weights": Target(".npz", read_model, model_seeds(".npz"), packed=True),
    "model": Target(".keras", read_model, model_seeds(".keras"), packed=True),
    "shape-model": Target(".npz", read_shape_model, shape_model_seeds, packed=True),
}


def text(exported):
    return exported.encode() if isinstance(exported, str) else exported


# Fuzzing --------------------------------------------------------------------------------------


def check(target, file, content):
    """Have a file of that content read or refused; an AssertionError or another error is a find."""
    file.write_bytes(content)
    try:
        target.read(file)
    except (ValueError, OSError) as error:
        if file.name not in str(error):
            raise AssertionError(f"refused, but not by name: {error!r}") from error
    assert list(file.parent.iterdir()) == [file], "a reader has left something behind"


def changed_member(content, max_size, seed):
    """A zip archive with one member changed, so that checksums fit; now and then, any bytes."""
    import atheris

    rng = random.Random(seed)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            members = {member.filename: file.read(member) for member in file.infolist()}
    except Exception:  # no archive any more
        members = {}
    if not members or rng.random() < 0.4:
        return atheris.Mutate(content, max_size)
    name = rng.choice(list(members))
    members[name] = atheris.Mutate(members[name], len(members[name]) + 32)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for member, inner in members.items():
            file.writestr(member, inner)
    return packed.getvalue()


def main(name, *arguments):
    import atheris

    target = TARGETS[name]
    work = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, work, ignore_errors=True)
    corpus, file = work / "corpus", work / "read" / f"fuzzed{target.suffix}"
    corpus.mkdir()
    file.parent.mkdir()
    with atheris.instrument_imports(include=INSTRUMENTED, exclude=COMPILED):
        for i, seed in enumerate(target.seeds(work)):
            (corpus / f"seed-{i}").write_bytes(seed)
            file.write_bytes(seed)
            target.read(file)  # what is valid is read; and all that a reader needs is imported

    @atheris.instrument_func
    def one_input(content):
        check(target, file, content)

    mutator = {"custom_mutator": changed_member} if target.packed else {}
    files = [argument for argument in arguments if not argument.startswith("-")]
    atheris.Setup(
        [sys.argv[0], *LIMITS, *arguments, *([] if files else [str(corpus)])], one_input, **mutator
    )
    atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"{__doc__}\nTARGETS: {', '.join(TARGETS)}")
    main(*sys.argv[1:])
