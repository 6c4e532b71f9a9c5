"""Clouds, sockets, statistical shape models, folders of shapes, and public shapes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clouds": ["normalize", "resample"],
        "folders": ["Shapes", "load_clouds"],
        "resampling": ["resample_tree"],
        "shape_model": ["ShapeModel"],
        "sockets": ["SocketSurface", "export_stl", "fit_surfaces"],
        "sources": ["load_corpus", "load_sockets"],
        "splits": ["split", "split_sockets"],
    },
)
