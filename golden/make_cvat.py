"""What CVAT's "CVAT for images 1.1" holds of a picture of 12 x 9 pixels, and the pixels its masks stand for.

    pip install cvat-sdk==2.80.0 datumaro==1.13.12
    python golden/make_cvat.py

The file is Datumaro's export; the second mask is written by CVAT's own `cvat_sdk.masks.encode_mask`, in the attributes
of CVAT's dumper. The pixels are in a comment at the file's end: first those of Datumaro's mask, then of CVAT's.
"""

import pathlib
import tempfile

import numpy as np
from cvat_sdk.masks import decode_mask, encode_mask
from datumaro.components.annotation import (
    AnnotationType,
    Bbox,
    Label,
    LabelCategories,
    Mask,
    Points,
    Polygon,
    PolyLine,
    RotatedBbox,
)
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT = 12, 9
rng = np.random.default_rng(5)

first = rng.random((HEIGHT, WIDTH)) < 0.3
second = np.zeros((HEIGHT, WIDTH), bool)
second[2:7, 3:11] = rng.random((5, 8)) < 0.5
second[2, 3] = second[6, 10] = True

labels = LabelCategories.from_iterable(["background", "bar", "disk", "leaf"])
annotations = [
    Polygon([1, 1, 5, 1, 5, 4, 1, 4], label=1, z_order=3),
    Bbox(6, 2, 4, 3, label=2, z_order=1, group=4),
    RotatedBbox(6, 4, 4, 2, 90, label=2, z_order=0, group=4),
    Mask(first.astype(np.uint8), label=3, z_order=2),
    PolyLine([0, 0, 3, 3], label=1),
    Points([2, 2], label=1),
    Label(1),
]
item = DatasetItem(
    "sub/a", media=Image.from_numpy(np.zeros((HEIGHT, WIDTH, 3), np.uint8)), annotations=annotations
)
dataset = Dataset.from_iterable([item], categories={AnnotationType.label: labels})
with tempfile.TemporaryDirectory() as folder:
    dataset.export(folder, "cvat")
    text = next(pathlib.Path(folder).glob("*.xml")).read_text()

encoded = encode_mask(second)
assert (decode_mask(encoded, image_width=WIDTH, image_height=HEIGHT) == second).all()
*runs, left, top, right, bottom = encoded
mask = (
    f'    <mask label="leaf" source="manual" occluded="0" rle="{", ".join(map(str, runs))}" left="{left}" top="{top}" '
    f'width="{right - left + 1}" height="{bottom - top + 1}" z_order="5">\n    </mask>\n  '
)
head, tail = text.rsplit("</image>", 1)
pixels = " ".join("".join(str(int(value)) for value in each.ravel()) for each in (first, second))
(HERE / "cvat.xml").write_text(f"{head.rstrip()}\n{mask}</image>{tail.rstrip()}\n<!-- {pixels} -->\n")
