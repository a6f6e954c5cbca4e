"""What Label Studio exports of two small pictures: JSON, JSON-MIN, and what its own code decodes them to.

    pip install label-studio-sdk==2.1.2
    python golden/make_label_studio.py

Brushes are written by `label_studio_sdk.converter.brush.encode_rle` and read back by its `decode_rle`; the corners of
the turned rectangle are those of `convert_annotation_to_yolo_obb`, and JSON-MIN is the `Converter`'s.
"""

import base64
import io
import json
import pathlib
import tempfile

import numpy as np
from label_studio_sdk.converter import Converter
from label_studio_sdk.converter.brush import decode_rle, encode_rle, mask2rle
from label_studio_sdk.converter.utils import convert_annotation_to_yolo_obb
from PIL import Image

HERE = pathlib.Path(__file__).parent
CONFIG = """<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="brush" toName="image"><Label value="cell"/><Label value="wide"/></BrushLabels>
  <BitmaskLabels name="bitmask" toName="image"><Label value="dots"/></BitmaskLabels>
  <RectangleLabels name="box" toName="image"><Label value="box"/></RectangleLabels>
  <PolygonLabels name="outline" toName="image"><Label value="outline"/></PolygonLabels>
</View>"""

rng = np.random.default_rng(3)


def region(number, name, kind, size, **value):
    """An entry of `result`."""
    label = value.pop("label")
    return {
        "id": f"region{number}",
        "from_name": name,
        "to_name": "image",
        "type": kind,
        "origin": "manual",
        "image_rotation": 0,
        "original_width": size[0],
        "original_height": size[1],
        "value": {**value, kind: [label]},
    }


def annotation(number, updated, result, cancelled=False):
    """An annotation of a task."""
    return {
        "id": number,
        "completed_by": 1,
        "result": result,
        "was_cancelled": cancelled,
        "ground_truth": False,
        "created_at": "2025-05-01T08:00:00.000000Z",
        "updated_at": updated,
        "lead_time": 9.5,
    }


# A brush's canvas: a colour where it painted, half transparent at its edges.
small = (9, 7)
cell = np.zeros((7, 9, 4), np.uint8)
painted = rng.random((7, 9)) < 0.4
cell[painted] = [20, 90, 200, 255]
cell[painted & (rng.random((7, 9)) < 0.5), 3] = 60
cell_rle = encode_rle(cell.ravel())

# Runs of more than 256 and of exactly 8, 16 and 256 values; 2, 4 and 64 pixels.
wide = (40, 8)
line = np.zeros(wide[0] * wide[1], np.uint8)
line[:64] = 255
line[66:70] = 255
line[200:300] = 255
line[319] = 255
wide_rle = mask2rle(line.reshape(8, 40))

dots = np.zeros((8, 40, 4), np.uint8)
dots[2::3, 1::7, 3] = 255
buffer = io.BytesIO()
Image.fromarray(dots).save(buffer, "PNG")
url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

turned = {"x": 50.0, "y": 12.5, "width": 20.0, "height": 50.0, "rotation": 30.0}
tasks = [
    {
        "id": 11,
        "data": {"image": "/data/upload/7/0a1b2c3d-small%20cells.png"},
        "file_upload": "0a1b2c3d-small cells.png",
        "annotations": [
            annotation(1, "2025-05-02T09:00:00.250000Z", [
                region(1, "brush", "brushlabels", small, format="rle", rle=cell_rle, label="cell"),
            ]),
            annotation(2, "2025-05-01T09:00:00.750000Z", []),
            annotation(3, "2025-05-09T09:00:00.000000Z", [], cancelled=True),
        ],
        "predictions": [{"model_version": "x", "result": []}],
    },
    {
        "id": 12,
        "data": {"image": "s3://bucket/day 1/wide.png"},
        "annotations": [
            annotation(4, "2025-05-03T09:00:00.000000Z", [
                region(2, "brush", "brushlabels", wide, format="rle", rle=wide_rle, label="wide"),
                region(3, "bitmask", "bitmasklabels", wide, imageDataURL=url, label="dots"),
                region(4, "box", "rectanglelabels", wide, **turned, label="box"),
                region(5, "outline", "polygonlabels", wide, label="outline", closed=True,
                       points=[[10.0, 25.0], [35.0, 25.0], [35.0, 87.5], [10.0, 87.5]]),
            ]),
        ],
        "predictions": [],
    },
    {"id": 13, "data": {"image": "/data/upload/7/ffffffff-later.png"}, "annotations": [], "predictions": []},
]

with tempfile.TemporaryDirectory() as folder:
    source = pathlib.Path(folder) / "tasks.json"
    source.write_text(json.dumps(tasks))
    Converter(CONFIG, folder, download_resources=False).convert_to_json_min(source, folder, is_dir=False)
    least = json.loads((pathlib.Path(folder) / "result.json").read_text())


def alpha(rle, size):
    """Where a brush painted, row by row, as Label Studio decodes it."""
    return (decode_rle(rle).reshape(size[1], size[0], 4)[:, :, 3] > 0).astype(int).ravel().tolist()


corners = convert_annotation_to_yolo_obb(
    {**turned, "original_width": wide[0], "original_height": wide[1]}, normalize=False
)
assert alpha(cell_rle, small) == painted.astype(int).ravel().tolist()
truth = {
    "cell": alpha(cell_rle, small),
    "wide": alpha(wide_rle, wide),
    "dots": (dots[:, :, 3] > 0).astype(int).ravel().tolist(),
    "box": [list(corner) for corner in corners],
}
lines = [f'"{key}": {json.dumps(value)}' for key, value in
         [("tasks", tasks), ("min", least), ("truth", truth)]]
(HERE / "label_studio.json").write_text("{" + ",\n".join(lines) + "}\n")
