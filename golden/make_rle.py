"""Makes golden/rle.json: COCO run-length masks, areas and boxes by pycocotools.

pip install pycocotools numpy; python golden/make_rle.py
"""

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

rng = np.random.default_rng(0)
masks = [
    np.ones((3, 4), np.uint8),
    np.array([[1]], np.uint8),
    np.array([[0, 2], [2, 0]], np.uint8),
    rng.integers(0, 3, (7, 5)).astype(np.uint8),
    rng.integers(0, 2, (1, 40)).astype(np.uint8) * 250,
    (rng.random((70, 3)) < 0.02).astype(np.uint8),
]
# Wide enough for several strips and for runs whose lengths need more than one character.
y, x = np.mgrid[:90, :150]
blobs = np.zeros((90, 150), np.uint8)
blobs[(y - 40) ** 2 + (x - 60) ** 2 < 900] = 1
blobs[(y - 60) ** 2 + 2 * (x - 110) ** 2 < 1200] = 2
blobs[80:, :] = 3
masks.append(blobs)

cases = []
for mask in masks:
    classes = []
    for value in sorted(set(mask.flat) - {0}):
        rle = coco.encode(np.asfortranarray((mask == value).astype(np.uint8)))
        classes.append(
            {
                "class": int(value),
                "area": int(coco.area(rle)),
                "bbox": [int(v) for v in coco.toBbox(rle)],
                "counts": rle["counts"].decode(),
            }
        )
    height, width = mask.shape
    cases.append({"width": width, "height": height, "pixels": mask.flatten().tolist(), "classes": classes})

target = Path(__file__).parent / "rle.json"
target.write_text(json.dumps(cases, separators=(",", ":")).replace('},{"width"', '},\n{"width"') + "\n")
