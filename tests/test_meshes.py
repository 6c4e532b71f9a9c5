"""Facts of mesh files as people have them: read as the file says, or refused by name."""

import base64
import io
import json
import struct
import zipfile

import numpy as np
import pytest
import trimesh
from analytic import socket
from conftest import zipped

from aaelib.shapes import meshes

LIMB = socket().mesh()
FACES = LIMB.faces + 1


def rows(numbers):
    return "".join(f"{' '.join(map(str, row))}\n" for row in numbers)


def lines(key, numbers):
    return rows((key, *row) for row in numbers)


VERTICES = lines("v", LIMB.vertices)
OBJ = VERTICES + lines("f", FACES)
# Every face has three texture coordinates of its own.
TEXTURED = "mtllib scan.mtl\nusemtl skin\n" + VERTICES + lines("vt", [(0.1, 0.2)] * FACES.size)
TEXTURED += lines(
    "f", [[f"{v}/{3 * i + j + 1}" for j, v in enumerate(f)] for i, f in enumerate(FACES)]
)
COLOURED = f"COFF\n{len(LIMB.vertices)} {len(FACES)} 0\n"
COLOURED += rows((*v, 0.5, 0.5, 0.5, 1) for v in LIMB.vertices)
COLOURED += rows((3, *f, 0.1, 0.2, 0.3, 1.0) for f in LIMB.faces)


def ply_header(encoding, n_vertices, n_faces, number="float", vertex="", face="", more=""):
    """With more properties of vertices, and of faces before and after their corners."""
    axes = "".join(f"property {number} {axis}\n" for axis in "xyz")
    return (
        f"ply\nformat {encoding} 1.0\ncomment TextureFile skin.png\n"
        f"element vertex {n_vertices}\n{axes}{vertex}element face {n_faces}\n{face}"
        f"property list uchar int vertex_indices\n{more}end_header\n"
    )


def ply(encoding):
    """The limb with more properties of vertices, and texture coordinates of faces."""
    vertex, more = "property float s\nproperty float t\n", "property list uchar float texcoord\n"
    sizes = len(LIMB.vertices), len(FACES)
    header = ply_header(encoding, *sizes, "double", vertex, more=more)
    if encoding == "ascii":
        body = rows((*v, 0.1, 0.2) for v in LIMB.vertices)
        return (header + body + rows((3, *f, 6, *[0.5] * 6) for f in LIMB.faces)).encode()
    body = b"".join(struct.pack("<3d2f", *v, 0.1, 0.2) for v in LIMB.vertices)
    body += b"".join(struct.pack("<B3iB6f", 3, *f, 6, *[0.5] * 6) for f in LIMB.faces)
    return header.encode() + body


WITH_MORE = {
    "mark.obj": OBJ.encode("utf-8-sig"),
    "utf-16.obj": OBJ.encode("utf-16"),
    "tabs.obj": OBJ.replace(" ", "\t", 100).replace("f ", "f\t").encode(),
    "continued.obj": OBJ.replace("\n", "\r\n").replace(" ", " \\\r\n ", 9).encode(),
    "textured.obj": TEXTURED.encode(),
    "relative.obj": (VERTICES + lines("f", FACES - len(LIMB.vertices) - 1)).encode(),
    "coloured.off": COLOURED.encode("utf-8-sig"),
    "text.ply": ply("ascii"),
    "binary.ply": ply("binary_little_endian"),
    "mark.ply": b"\xef\xbb\xbf" + LIMB.export(file_type="ply", encoding="ascii"),
}


@pytest.mark.parametrize("name", WITH_MORE)
def test_a_mesh_is_read_whatever_else_its_file_holds(tmp_path, name):
    (tmp_path / name).write_bytes(WITH_MORE[name])
    mesh = meshes.read(tmp_path / name)
    np.testing.assert_allclose(mesh.triangles, LIMB.triangles, atol=1e-4)


@pytest.mark.parametrize(
    "content",
    [
        "OFF4 2\n0 0 0\n1 0 0\n1 1 0.1\n0 1 -.5\n3 0 1 2\n3 0 2 3",
        "OFF\r\n4 2 0\r\n0 0 0\r\n1 0 0\r\n1 1 0.1\r\n0 1 5\r\n3 0 1 2\r\n3 0 2 3\r\n",
        "# a\nOFF # b\n4 2 0\n0 0 0\n\n1 0 0\n1 1 0.1 # c\n0 1 -.5\n\n3 0 1 2\n3 0 2 3\n",
        "OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0.1\n0 1 -.5\n4 0 1 2 3 255 0 0\n",
    ],
    ids=["run together, without edges", "windows", "comments", "coloured quad"],
)
def test_whole_off_files_are_not_taken_for_cut_ones(tmp_path, content):
    file = tmp_path / "a.off"
    file.write_bytes(content.encode())
    mesh = meshes.read(file)
    assert (len(mesh.vertices), len(mesh.faces)) == (4, 2)
    np.testing.assert_array_equal(mesh.vertices[1], [1, 0, 0])


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_binary_ply_file_may_mix_triangles_and_quads(tmp_path, order):
    box = trimesh.creation.box((1, 2, 3))
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5], [0, 5, 1]]
    faces += [[2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    encoding = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    header = ply_header(encoding, 8, len(faces), face="property uchar red\n")
    body = [struct.pack(f"{order}3f", *vertex) for vertex in box.vertices]
    body += [struct.pack(f"{order}BB{len(f)}i", 9, len(f), *f) for f in faces]
    content, file = header.encode() + b"".join(body), tmp_path / "box.ply"
    file.write_bytes(content)
    mesh = meshes.read(file)
    assert (len(mesh.faces), mesh.area, mesh.volume) == (12, box.area, box.volume)
    # Cut off, or with more rows than the file has bytes.
    for wrong in (content[:-5], content.replace(b"vertex 8", b"vertex 800000000")):
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"box\.ply: not a mesh"):
            meshes.read(file)


def test_relative_indices_count_back_from_the_face_not_from_the_end_of_the_file(tmp_path):
    block = "v {0} 0 0\nv {0} 1 0\nv {0} 0 1\nf -3 -2 -1\n"
    (tmp_path / "two.obj").write_text(block.format(0) + block.format(5))
    triangle = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1]])
    mesh = meshes.read(tmp_path / "two.obj")
    np.testing.assert_array_equal(mesh.triangles, [triangle, triangle + np.array([5, 0, 0])])
    for index in ("0", "-4", "7"):
        (tmp_path / "two.obj").write_text(block.format(0) + f"f 1 2 {index}\n")
        with pytest.raises(ValueError, match=r"two\.obj: not a mesh"):
            meshes.read(tmp_path / "two.obj")


# A U of 100 x 100 with a notch of 60 x 60, on a slope of 3 in 4.
U = np.array([[0, 0], [100, 0], [100, 100], [80, 100], [80, 40], [20, 40], [20, 100], [0, 100]])
SLOPE = np.array([[1, 0, 0], [0, 0.8, 0.6]])
ARROW = np.array([[0, 0], [30, 60], [0, 20], [-30, 60]])


def polygon_file(suffix, points, corners):
    if suffix == "obj":
        return lines("v", points) + lines("f", [np.array(corners) + 1])
    body = rows([*points, (len(corners), *corners)])
    if suffix == "off":
        return f"OFF\n{len(points)} 1 0\n{body}"
    return ply_header("ascii", len(points), 1) + body


@pytest.mark.parametrize("suffix", ["obj", "off", "ply"])
@pytest.mark.parametrize(("flat", "area"), [(U, 6400), (ARROW, 600)])
def test_concave_faces_are_triangulated_within_their_outline(tmp_path, suffix, flat, area):
    file = tmp_path / f"u.{suffix}"
    for first in range(len(flat)):
        for step in (1, -1):
            corners = np.roll(np.arange(len(flat)), first)[::step]
            file.write_text(polygon_file(suffix, flat @ SLOPE, corners))
            mesh = meshes.read(file)
            assert mesh.area == pytest.approx(area, rel=1e-6)
            # All triangles turn as the outline does.
            turns = mesh.face_normals @ np.cross(*SLOPE)
            np.testing.assert_allclose(turns, step, rtol=1e-6)


def test_bytes_after_the_last_facet_are_left_out_with_a_warning(tmp_path):
    content = LIMB.export(file_type="stl")
    for more in (b"\0", b"\n", b"solid" * 99):
        (tmp_path / "limb.stl").write_bytes(content + more)
        said = f"limb.stl: {len(more)} bytes after the last of {len(FACES)} facets are left out"
        with pytest.warns(UserWarning, match=said):
            mesh = meshes.read(tmp_path / "limb.stl")
        np.testing.assert_allclose(mesh.triangles, LIMB.triangles, atol=1e-4)


# 3MF

MODEL = "<model unit='{}' xmlns='http://schemas.microsoft.com/3dmanufacturing/core/2015/02' "
MODEL += "xmlns:p='http://schemas.microsoft.com/3dmanufacturing/production/2015/06'><resources>{}"
MODEL += "</resources>{}</model>"
BUILD = "<build><item objectid='1'/></build>"


def tetrahedron(size):
    corners = np.vstack([np.zeros(3), size * np.eye(3)])
    points = "".join(f"<vertex x='{x}' y='{y}' z='{z}'/>" for x, y, z in corners)
    faces = ((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))
    faces = "".join(f"<triangle v1='{a}' v2='{b}' v3='{c}'/>" for a, b, c in faces)
    return (
        f"<object id='1' type='model'><mesh><vertices>{points}</vertices><triangles>{faces}"
        "</triangles></mesh></object>"
    )


def write_3mf(file, model, **parts):
    others = {f"3D/Objects/{name}.model": text for name, text in parts.items()}
    file.write_bytes(zipped({"3D/3dmodel.model": model} | others))
    return file


UNITS = {"micron": 1e-3, "millimeter": 1, "centimeter": 10}
UNITS |= {"inch": 25.4, "foot": 304.8, "meter": 1e3}


@pytest.mark.parametrize(("unit", "mm"), UNITS.items())
def test_the_unit_that_a_3mf_states_is_used(tmp_path, unit, mm):
    model = MODEL.format(unit, tetrahedron(3), BUILD)
    mesh = meshes.read(write_3mf(tmp_path / "a.3mf", model))
    np.testing.assert_allclose(mesh.extents, 3 * mm)


COMPONENT = "<object id='{}'><components>{}</components></object>"


def nested_3mf(depth):
    """A model whose objects show the one before twice, side by side; 4 * 2^depth faces in mm."""
    shown = "<component objectid='{0}'/><component objectid='{0}' transform='{1} {2} 0 0'/>"
    turn = "1 0 0 0 1 0 0 0 1"
    objects = [
        COMPONENT.format(i + 2, shown.format(i + 1, turn, 10.0 * 2**i)) for i in range(depth)
    ]
    build = f"<build><item objectid='{depth + 1}'/></build>"
    return MODEL.format("millimeter", tetrahedron(3) + "".join(objects), build)


def test_every_one_of_nested_objects_is_in_its_place(tmp_path):
    mesh = meshes.read(write_3mf(tmp_path / "nested.3mf", nested_3mf(10)))
    assert len(mesh.faces) == 4 * 2**10
    np.testing.assert_allclose(mesh.extents, [10 * (2**10 - 1) + 3, 3, 3])


def test_objects_in_part_files_are_never_mixed_up(tmp_path):
    sizes = {"a": 1, "b": 5}
    parts = {name: MODEL.format("inch", tetrahedron(s), "") for name, s in sizes.items()}
    shown = "<component p:path='/3D/Objects/{}.model' objectid='1'/>"
    objects = [COMPONENT.format(i, shown.format(name)) for i, name in enumerate("ab", 2)]
    for ids, volume in (((2,), 1), ((2, 3), 126)):
        build = "".join(f"<item objectid='{id_}'/>" for id_ in ids)
        root = MODEL.format("inch", "".join(objects), f"<build>{build}</build>")
        mesh = meshes.read(write_3mf(tmp_path / "parts.3mf", root, **parts))
        assert mesh.volume == pytest.approx(volume * 25.4**3 / 6)
        assert len(mesh.faces) == 4 * len(ids)


# What trimesh leaves out in silence


def gltf(nodes=1, primitives=1, count=3, with_buffer=True, **primitive):
    """Triangles with a texture in glTF: as many nodes show the same mesh, of the same numbers."""
    corners = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]] * (count // 3 if with_buffer else 1))
    data = "data:application/octet-stream;base64," + base64.b64encode(corners).decode()
    accessor = {"bufferView": 0, "componentType": 5126, "count": count, "type": "VEC3"}
    if not with_buffer:
        del accessor["bufferView"]
    part = {"attributes": {"POSITION": 0, "TEXCOORD_0": 0}, "material": 0} | primitive
    return json.dumps(
        {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": list(range(nodes))}],
            "nodes": [{"mesh": 0}] * nodes,
            "meshes": [{"primitives": [part] * primitives}],
            "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
            "textures": [{"source": 0}],
            "images": [{"bufferView": 0, "mimeType": "image/png"}],
            "accessors": [accessor],
            "bufferViews": [{"buffer": 0, "byteLength": corners.nbytes}],
            "buffers": [{"byteLength": corners.nbytes, "uri": data}],
        }
    )


@pytest.mark.parametrize("suffix", ["obj", "off", "stl", "ply"])
def test_decimal_commas_are_named(tmp_path, suffix):
    mesh = trimesh.Trimesh([[0.5, 0, 0], [0, 1.5, 0], [0, 0, 2.5]], [[0, 1, 2]])
    options = {"ply": {"encoding": "ascii"}}.get(suffix, {})
    kind = "stl_ascii" if suffix == "stl" else suffix
    content = mesh.export(io.BytesIO(), file_type=kind, **options)
    content = content.decode() if isinstance(content, bytes) else content
    (tmp_path / f"a.{suffix}").write_text(content.replace(".5", ",5"))
    with pytest.raises(ValueError, match=rf"a\.{suffix}: .*decimal commas"):
        meshes.read(tmp_path / f"a.{suffix}")


def test_a_3mf_begins_with_the_part_that_it_names(tmp_path):
    relations = (
        "<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'>"
        "<Relationship Type='http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel' "
        "Target='/3D/main.model'/></Relationships>"
    )
    members = {
        "_rels/.rels": relations,
        "3D/backup.model": MODEL.format("meter", tetrahedron(5), BUILD),
        "3D/main.model": MODEL.format("millimeter", tetrahedron(3), BUILD),
    }
    (tmp_path / "a.3mf").write_bytes(zipped(members))
    np.testing.assert_allclose(meshes.read(tmp_path / "a.3mf").extents, 3)


BOX = trimesh.creation.box((10, 20, 30))
BOX_V, BOX_F = lines("v", BOX.vertices), lines("f", BOX.faces + 1)
OFF_V, OFF_F = rows(BOX.vertices), lines(3, BOX.faces)
SOLID = BOX.export(file_type="stl_ascii")


@pytest.mark.parametrize(
    "text",
    [
        BOX_V + "# saved from C:\\scans\\\n" + BOX_F,
        BOX_V + "usemtl a\\\n" + BOX_F,
        "g a\u2028v 1 2 3\n" + BOX_V + BOX_F,
        "# page\x0c\n g x\x0bv 9 9 9\n" + BOX_V + BOX_F,
        (BOX_V + BOX_F).replace("\n", "\r"),
    ],
    ids=["comment", "material", "line separator", "form feed", "carriage returns"],
)
def test_lines_of_an_obj_end_where_other_programs_end_them(tmp_path, text):
    (tmp_path / "a.obj").write_bytes(text.encode())
    assert meshes.read(tmp_path / "a.obj").area == pytest.approx(BOX.area)


TREE = json.loads(gltf())
DRACO = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
LISTS = polygon_file("ply", np.eye(3), [0, 1, 2]).replace(
    "end_header", "property list uchar int a\n" * 501 + "end_header"
)
FACE_9 = tetrahedron(1).replace("v1='0'", "v1='9'", 1) + tetrahedron(1).replace("id='1'", "id='2'")
TWO = "<build><item objectid='1'/><item objectid='2'/></build>"
BEAMS = tetrahedron(1).replace("</mesh>", "<beamlattice/></mesh>")
NEEDS_V = MODEL.replace(
    "<model", "<model requiredextensions='v' xmlns:v='http://a/volumetric/1'", 1
)


def changed(**entries):
    return json.dumps(TREE | entries)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("two.stl", SOLID + SOLID[: len(SOLID) // 2], "cut off"),
        ("flat.obj", "v 0 0\nv 1 0\nv 0 1\nv 1 1\nv 2 0\nv 2 2\nf 1 2 3\n", "2 numbers each"),
        ("line.obj", BOX_V + "f 1 2\n" + BOX_F, "a face of 2 corners"),
        ("flat.off", "OFF\n3 1 0\n0 0\n1 0\n0 1\n3 0 1 2\n", "2 numbers each"),
        ("a.off", f"OFF\n8 12 0\n{OFF_V}{OFF_F.replace('3 ', '-3 ', 1)}", "corners"),
        ("b.off", f"OFF\n8 13 0\n{OFF_V}{OFF_F}2 0 1\n", "a face of 2 corners"),
        ("c.off", f"OFF\n8\n12\n0\n{OFF_V}{OFF_F}", "in one line"),
        ("d.off", f"OFF\n8 12 0\n{OFF_V.replace(chr(10), ' ')}{OFF_F}", "in a line of its own"),
        ("binary.off", b"OFF BINARY\n" + bytes(12), "OFF BINARY is not read"),
        ("wide.obj", (BOX_V + BOX_F).encode("utf-32"), "neither UTF-8 nor UTF-16"),
        ("off.obj", f"OFF\n8 12 0\n{OFF_V}{OFF_F}", "no vertices"),
        ("surface.obj", BOX_V + "surf 0 1 0 1 1 2 3 4\n", "other surfaces are not read"),
        ("fans.ply", "ply\nformat ascii 1.0\nelement trifans 1\n", "trifans is not read"),
        ("lists.ply", LISTS, "505 properties of elements; 500 at most"),
        ("a.gltf", changed(extensionsRequired=["KHR_unknown_geometry"]), "KHR_unknown_geometry"),
        ("b.gltf", changed(nodes=[{"mesh": 0, "extensions": {"EXT_mesh_gpu_instancing": {}}}]),
         "instancing is not read"),
        ("c.gltf", changed(accessors=[TREE["accessors"][0] | {"sparse": {"count": 1}}]), "sparse"),
        ("d.gltf", changed(meshes=[TREE["meshes"][0] | {"weights": [1.0]}]), "weights"),
        ("e.gltf", "\ufeff" + gltf(), "byte order mark"),
        ("f.gltf", gltf(mode=6), '"mode": 6.* is not read; write plain'),
        ("g.gltf", gltf(extensions=DRACO), "draco.* is not read; write plain"),
        ("9.3mf", MODEL.format("inch", FACE_9, TWO), "not among its 4"),
        ("beams.3mf", MODEL.format("inch", BEAMS, BUILD), "beam lattices are not read"),
        ("needs.3mf", NEEDS_V.format("inch", tetrahedron(1), BUILD), "volumetric/1 is not read"),
        ("none.3mf", MODEL.format("inch", tetrahedron(1), ""), "builds nothing"),
        ("gone.3mf", MODEL.format("inch", tetrahedron(1), BUILD.replace("'1'", "'7'")), "object 7"),
        # Found by a fuzzer.
        ("one.obj", "v 0\nv 1\nv 2\nf 1 2 3\n", "1 numbers each"),
        ("scalar.gltf", gltf().replace('"VEC3"', '"SCALAR"'), r"\(3, 1\) vertices"),
        ("high.ply", polygon_file("ply", np.eye(3), [0, 1, 721420312]), "out of bounds"),
        ("low.ply", polygon_file("ply", np.eye(3), [0, 1, -7]), "out of bounds"),
        ("other.3mf", MODEL.format("inch", "<object id='1'><shape/></object>", BUILD), "neither"),
    ],
    ids=lambda each: each if isinstance(each, str) and len(each) < 12 and "." in each else "",
)  # fmt: skip
def test_what_would_be_read_as_another_mesh_is_refused_by_its_name(
    tmp_path, name, content, message
):
    file = tmp_path / name
    if file.suffix == ".3mf":
        write_3mf(file, content)
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=rf"{name}: .*{message}"):
        meshes.read(file)


def test_textures_and_lines_beside_a_surface_of_gltf_are_left_out(tmp_path):
    part = TREE["meshes"][0]["primitives"][0]
    (tmp_path / "a.gltf").write_text(changed(meshes=[{"primitives": [part, part | {"mode": 1}]}]))
    assert meshes.read(tmp_path / "a.gltf").area == pytest.approx(0.5)


def facet(corners):
    corners = "".join(f" vertex {' '.join(map(str, each))}" for each in corners)
    return f"facet normal 0 0 1 outer loop{corners} endloop endfacet\n"


SQUARES = [[(x, 0, 0), (x + 10, 0, 0), (x + 10, 10, 0), (x, 10, 0)] for x in (0, 10, 20)]
GRID = [(x, y, 0) for y in (0, 1) for x in range(8)]
# Two quads of the strip become a triangle and a pentagon: as many bytes.
STRIP = [[0, 1, 9, 8], [1, 2, 9], [2, 3, 11, 10, 9]]
STRIP += [[x, x + 1, x + 9, x + 8] for x in range(3, 7)]
HEAD = "ply\nformat {} 1.0\ncomment C:\\\xfc end_header\nelement vertex {}\n"
HEAD += "".join(f"property float {axis}\n" for axis in "xyz")
HEAD += "\nelement face {}\nproperty list uchar int vertex_indices\nend_header\n"
STRIP_PLY = HEAD.format("binary_little_endian", len(GRID), len(STRIP)).encode("latin-1") + b"".join(
    [struct.pack("<3f", *v) for v in GRID]
    + [struct.pack(f"<B{len(f)}i", len(f), *f) for f in STRIP]
)
BLANK = HEAD.format("ascii", 3, 1) + "\n0 0 0\n1 0 0\n\n0 1 0\n\n3 0 1 2\n"


@pytest.mark.parametrize(
    ("name", "content", "area"),
    [
        ("loops.stl", f"solid q\n{''.join(map(facet, SQUARES))}endsolid q", 300),
        ("named.stl", f"solid vertex_group\n{facet(SQUARES[0])}endsolid vertex_group", 100),
        ("cr.stl", SOLID.replace("\n", "\r"), BOX.area),
        ("mixed.ply", STRIP_PLY, 7),
        ("blank.ply", BLANK, 0.5),
        ("small.off", "off\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", 0.5),
    ],
)
def test_what_the_format_allows_is_read(tmp_path, name, content, area):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(content)
    assert meshes.read(tmp_path / name).area == pytest.approx(area)


def test_supports_and_what_is_not_printed_are_no_part_of_a_3mf(tmp_path):
    objects = "".join(
        tetrahedron(size).replace("id='1'", f"id='{i}'").replace("'model'", f"'{kind}'")
        for i, size, kind in ((1, 1, "model"), (2, 5, "support"), (3, 7, "model"))
    )
    items = "<item objectid='1'/><item objectid='2'/><item objectid='3' printable='0'/>"
    with zipfile.ZipFile(tmp_path / "a.3mf", "w") as archive:
        # The name that is taken where none is stated, in other letters.
        text = MODEL.format("millimeter", objects, f"<build>{items}</build>")
        archive.writestr("3D/3DModel.model", text)
    assert np.ptp(meshes.read(tmp_path / "a.3mf").vertices, axis=0) == pytest.approx([1, 1, 1])


def test_numbers_beside_a_gltf_are_found_by_its_address_and_count(tmp_path):
    corners = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]] * 3_000_000)
    tree = json.loads(gltf(count=3))
    tree["buffers"] = [{"uri": "my%20scan.bin", "byteLength": corners.nbytes}]
    tree["bufferViews"] = [{"buffer": 0, "byteLength": corners.nbytes}]
    tree["accessors"][0]["count"] = len(corners)
    (tmp_path / "my scan.bin").write_bytes(corners.tobytes())
    (tmp_path / "a.gltf").write_text(json.dumps(tree))
    assert len(meshes.read(tmp_path / "a.gltf").faces) == 3_000_000
    assert meshes.buffers_of(tmp_path / "a.gltf") == [tmp_path / "my scan.bin"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("box.zip", b"", ".zip is not read"),
        ("box.xaml", b"", ".xaml is not read"),
        ("few.stl", b" " * 80 + struct.pack("<I", 1) + bytes(150), "declares 1 facets, and has 3"),
        ("seen.gltf", changed(nodes=[{"mesh": 0, "camera": 0}]).encode(), "take the camera out"),
    ],
)
def test_what_would_be_read_in_part_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        meshes.read(tmp_path / name)
