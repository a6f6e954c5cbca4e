"""Label files of a picture of 6 x 4 pixels as tools themselves write them: Datumaro, Supervisely and V7 Darwin.

    pip install datumaro==1.13.12 darwin-py==3.6.3
    pip install supervisely==6.74.51  # in an environment of its own, if it does not get on with the others
    python golden/make_formats.py

A package that is missing leaves its file as it is. Masks are read back by their own tool and compared with those below.
"""

import importlib.util
import json
import pathlib
import tempfile

import numpy as np

OUT = pathlib.Path(__file__).parent / "formats"
OUT.mkdir(exist_ok=True)
HEIGHT, WIDTH = 4, 6
# A ring, with a hole of a pixel, and a corner.
CELL = np.array([[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 0], [0, 1, 1, 1, 0, 0]], np.uint8)
TIP = np.array([[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], np.uint8)


def here(package):
    return importlib.util.find_spec(package) is not None


def write(name, value):
    (OUT / name).write_text(json.dumps(value, indent=1) + "\n")


def datumaro():
    import datumaro as dm

    annotations = [
        dm.Mask(TIP, label=1, z_order=2, id=7, group=7),
        dm.Polygon([0, 0, 6, 0, 6, 4, 0, 4], label=0, z_order=0, id=1, group=1),
        dm.Mask(CELL, label=0, z_order=1, id=2, group=2, attributes={"is_crowd": True}),
        dm.Bbox(1, 1, 2.5, 2, label=1, z_order=1, id=3),
        dm.Ellipse(1, 1, 5, 3, label=1, z_order=3, id=4),
        dm.Points([1, 1], label=0, id=5),
        dm.PolyLine([0, 0, 5, 3], label=0, id=6),
        dm.Label(1, id=8),
    ]
    picture = dm.Image.from_numpy(data=np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    item = dm.DatasetItem("sub/a", subset="train", media=picture, annotations=annotations)
    data = dm.Dataset.from_iterable([item], categories=["tissue", "cell"])
    with tempfile.TemporaryDirectory() as folder:
        data.export(folder, "datumaro", save_media=True)
        file = pathlib.Path(folder) / "annotations" / "train.json"
        value = json.loads(file.read_text())
        back = dm.Dataset.import_from(folder, "datumaro")
        masks = [a for item in back for a in item.annotations if isinstance(a, dm.Mask)]
        assert [m.image.tolist() for m in masks] == [TIP.tolist(), CELL.tolist()]
    write("datumaro.json", value)


def supervisely():
    import supervisely as sly

    classes = [sly.ObjClass("cell", sly.Bitmap), sly.ObjClass("tip", sly.AlphaMask)]
    classes += [sly.ObjClass("box", sly.Rectangle), sly.ObjClass("outline", sly.Polygon)]
    classes += [sly.ObjClass("dot", sly.Point)]
    square = [(0, 0), (0, 4), (3, 4), (3, 0)]
    hole = [(1, 1), (1, 3), (2, 3), (2, 1)]
    shapes = [
        sly.Bitmap(CELL.astype(bool)),
        sly.AlphaMask(TIP * 128),
        sly.Rectangle(top=1, left=2, bottom=2, right=4),
        sly.Polygon([sly.PointLocation(*at) for at in square], [[sly.PointLocation(*at) for at in hole]]),
        sly.Point(1, 1),
    ]
    labels = [sly.Label(shape, of) for shape, of in zip(shapes, classes)]
    value = sly.Annotation((HEIGHT, WIDTH), labels).to_json()
    meta = sly.ProjectMeta(sly.ObjClassCollection(classes))
    for label, expected in zip(sly.Annotation.from_json(value, meta).labels, [CELL, TIP]):
        piece, at = label.geometry.data, label.geometry.origin
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[at.row : at.row + piece.shape[0], at.col : at.col + piece.shape[1]] = piece > 0
        assert (mask == expected).all(), mask
    write("supervisely.json", value)


def darwin():
    import darwin.datatypes as dt
    from darwin.exporter.formats import darwin as exporter
    from darwin.exporter.formats import mask as masks
    from darwin.importer.formats.coco import _encode_dense_rle
    from darwin.utils import parse_darwin_json

    def corners(*points):
        return [{"x": float(x), "y": float(y)} for x, y in points]

    def file(annotations):
        classes = {a.annotation_class for a in annotations}
        of = dt.AnnotationFile(
            pathlib.Path("a.json"), "a.png", classes, annotations, image_width=WIDTH, image_height=HEIGHT,
            slots=[dt.Slot("0", "image", [], width=WIDTH, height=HEIGHT)], remote_path="/sub", dataset_name="d",
        )
        return exporter.build_image_annotation(of, "team")

    outer, hole = corners((1, 1), (4, 1), (4, 4), (1, 4)), corners((2, 2), (3, 2), (3, 3), (2, 3))
    polygons = [
        dt.make_polygon("cell", [outer, hole], {"x": 1, "y": 1, "w": 3, "h": 3}),
        dt.make_bounding_box("box", 1, 1, 2.5, 2),
        dt.make_tag("picture"),
    ]
    write("darwin.json", file(polygons))

    # The exporter does not write masks: their parts are put beside each other as the service does.
    value = file([])
    pair = [dt.make_mask("cell"), dt.make_mask("tip")]
    ids = ["5a0ceba1-2e26-425e-8579-e6013ca415c5", "91bb3c24-883a-433b-ae95-a6ee7845bea5"]
    value["annotations"] = [
        {"id": at, "name": mask.annotation_class.name, "mask": mask.data, "slot_names": ["0"]}
        for at, mask in zip(ids, pair)
    ]
    runs = _encode_dense_rle(CELL * 3 + TIP)
    layer = dt.make_raster_layer("__raster_layer__", dict(zip(ids, [3, 1])), HEIGHT * WIDTH, runs)
    value["annotations"].append(
        {"id": "raster", "name": "__raster_layer__", "raster_layer": layer.data, "slot_names": ["0"]}
    )
    write("darwin_masks.json", value)
    parsed = parse_darwin_json(OUT / "darwin_masks.json")
    kinds = [a for a in parsed.annotations if a.annotation_class.annotation_type in ("mask", "raster_layer")]
    errors, mask, names, _ = masks.render_raster(
        np.zeros((HEIGHT, WIDTH), np.uint8), {}, ["__background__"], kinds, parsed, HEIGHT, WIDTH
    )
    assert not errors and names == ["__background__", "cell", "tip"], (errors, names)
    assert (mask == CELL + 2 * TIP).all(), mask


for package, make in [("datumaro", datumaro), ("supervisely", supervisely), ("darwin", darwin)]:
    if here(package):
        make()
        print("written by", package)
