"""A run of the study: its profile, its folder, and the files that notebooks share."""

import html
import json
from pathlib import Path

import numpy as np
import yaml
from IPython.display import Markdown, display

from ..models.code import digest
from ..shapes.folders import Shapes, name_of
from ..shapes.places import NOTEBOOKS, ROOT
from ..shapes.sockets import SocketSurface
from ..shapes.splits import split_sockets
from ..shapes.writing import replacing, write_whole
from . import figures
from .spread import with_spread

PROFILES = NOTEBOOKS / "profiles"


class Study:
    """
    A profile's parameters, and the folder where its tables, figures and models go.

    Parameters
    ----------
    profile : str
        A file in `notebooks/profiles`, without suffix.
    notebook : str
        The notebook that writes, for its conclusions.
    seed : int, optional
        Of the split of the sockets, one of the profile's `splits`; the first by default.

    Attributes
    ----------
    parameters : dict
        Contents of the profile; `study[key]` is one of them.
    seed : int
        Of the split and all that is trained on it.
    folder : Path
        `results/<profile>`.
    source : str or None
        Where the shapes are from, for the captions; set by the first shapes saved or loaded.

    Raises
    ------
    ValueError
        If there is no such profile.
    """

    def __init__(self, profile, notebook, seed=None):
        file = PROFILES / f"{profile}.yaml"
        if not file.exists():
            known = sorted(f.stem for f in PROFILES.glob("*.yaml"))
            raise ValueError(f"no profile {profile!r}; accepted: {', '.join(known)}")
        self.profile, self.notebook = profile, notebook
        self.parameters = yaml.safe_load(file.read_text())
        self.seed = self["splits"][0] if seed is None else seed
        self.folder = ROOT / "results" / profile
        self.source = None

    def __getitem__(self, key):
        return self.parameters[key]

    def splits(self):
        """This study once for each split of the sockets, see `splits.split_sockets`."""
        return [Study(self.profile, self.notebook, seed) for seed in self["splits"]]

    def model_path(self, name):
        """Path of a model, `models/<name>.keras`."""
        return self.folder / "models" / f"{name}.keras"

    def own_shapes(self, source):
        """Folder for what is made of a user's folder, which is known by its path, not its name."""
        known_by = digest(str(Path(source).resolve()))[:8]
        return self.folder / "own_shapes" / f"{name_of(source)[:40]}-{known_by}"

    # Between notebooks ------------------------------------------------------------------------

    def save_sockets(self, shapes, surfaces):
        """Write the sockets and their surfaces for the next notebooks."""
        arrays = {"points": shapes.points, "names": shapes.names, "kinds": shapes.kinds}
        arrays["surfaces"] = np.stack([s.vertices for s in surfaces]).astype(np.float32)
        with replacing(self.folder / "sockets.npz") as temporary:
            np.savez(temporary, source=shapes.source, **arrays)
        self.source = shapes.source

    def load_sockets(self):
        """
        Read what `save_sockets` wrote, and split it.

        Returns
        -------
        shapes : Shapes
        surfaces : list of SocketSurface
        split : dict of str -> ndarray
            Part -> indices of its shapes, by the study's seed.

        Raises
        ------
        FileNotFoundError
            If notebook 01 has not run in this profile.
        """
        file = self.folder / "sockets.npz"
        if not file.exists():
            raise FileNotFoundError(
                f"{file} is missing: run the notebooks before this one with the profile "
                f"{self.profile!r} first (`make reproduce PROFILE={self.profile}`)"
            )
        with np.load(file, allow_pickle=False) as saved:
            shapes = Shapes(saved["points"], saved["names"], saved["kinds"], str(saved["source"]))
            surfaces = [SocketSurface(v) for v in saved["surfaces"]]
        self.source = self.source or shapes.source
        return shapes, surfaces, self.split(shapes)

    def split(self, shapes):
        """Split sockets as the profile says, by the study's seed."""
        s = self["sockets"]
        return split_sockets(shapes, s["scans"], s["validation"], s["test"], self.seed)

    # Shown in notebooks -----------------------------------------------------------------------

    @property
    def provenance(self):
        """Source, profile and splits, as captions name them."""
        source = html.escape(str(self.source), quote=False)  # folders can be called anything
        n = len(self["splits"])
        return f"{source} · profile {self.profile} · {n} split{'s' * (n != 1)}"

    def table(self, name, frame, caption=None):
        """
        Write a table as CSV and Markdown, and show it if it has a caption.

        Parameters
        ----------
        name : str
            File name without suffix.
        frame : pandas.DataFrame
            The CSV has it in full, with columns for source, profile and number of splits.
        caption : str, optional
            What the numbers are, their unit and which way is better. Shown are "mean ± sd" in place
            of columns `x` and `x_sd`, and no columns that are empty.
        """
        folder = self.folder / "tables"
        known = {"source": self.source, "profile": self.profile, "splits": len(self["splits"])}
        write_whole(folder / f"{name}.csv", frame.assign(**known).to_csv())
        if caption is None:
            return
        shown = frame.dropna(axis="columns", how="all")
        if shown.columns.astype(str).str.endswith("_sd").any():
            shown = with_spread(shown)
        text = shown.to_markdown(floatfmt=".4g")
        text += f"\n\n**{name}.** {caption} *{self.provenance}*"
        write_whole(folder / f"{name}.md", text + "\n")
        display(Markdown(text))

    def figure(self, name, figure, caption, live=True):
        """
        Write a figure as an interactive page, and show it.

        It is live, with a picture for viewers without JavaScript if there is Chrome or Chromium to
        draw one.

        Parameters
        ----------
        name : str
            File name without suffix.
        figure : plotly.graph_objects.Figure
        caption : str
            What is plotted, for which data, and how to read it.
        live : bool
            If False, it is shown as its picture only: a notebook that is passed on must not hold
            shapes, such as ModelNet's, that may not be.
        """
        page = self.folder / "figures" / f"{name}.html"
        figures.write_html(figure, page)
        picture = figures.to_png(figure) if self["pictures"] else None
        bundle = {"text/plain": name}
        if picture:
            bundle["image/png"] = picture
        if picture is None or live:
            bundle["application/vnd.plotly.v1+json"] = json.loads(figure.to_json())
        display(bundle, raw=True)
        where = page.relative_to(ROOT)
        display(Markdown(f"**{name}.** {caption} *{self.provenance}; to turn and zoom: `{where}`*"))

    def conclude(self, *sentences):
        """Write and show conclusions: sentences made from the numbers of this run."""
        text = "\n".join(f"- {sentence}" for sentence in sentences)
        text += f"\n\n*{self.provenance}*"
        write_whole(self.folder / "conclusions" / f"{self.notebook}.md", text + "\n")
        display(Markdown(text))
