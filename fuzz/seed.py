"""Fills corpus/TARGET with the small files of golden/ and a few lines of each text format: python fuzz/seed.py"""

import shutil
from pathlib import Path

FUZZ = Path(__file__).parent
GOLDEN = FUZZ.parent / "golden"
RECIPES = FUZZ.parent / "recipes"

FILES = {
    "pictures": sorted((GOLDEN / "pictures").glob("*")),
    "masks": sorted((GOLDEN / "pictures").glob("*.png")) + sorted((GOLDEN / "pictures").glob("*.tif*")),
    "labels_json": [*sorted((GOLDEN / "formats").glob("*.json")), GOLDEN / "label_studio.json"],
    "labels_xml": [GOLDEN / "cvat.xml"],
    "npy": sorted(GOLDEN.glob("*.npy")),
    "recipe": sorted(RECIPES.glob("**/*.toml")),
    "safetensors": [path for path in sorted(GOLDEN.glob("*.safetensors")) if path.stat().st_size < 1 << 20],
}

TEXTS = {
    "labels_text": [
        "0 0.5 0.5 0.4 0.6\n1 0.1 0.1 0.9 0.2 0.4 0.8\n",
        "image,xmin,ymin,xmax,ymax,class\na.png,1,2,9,7,a\n",
        "name,r,g,b\na,1,2,3\nb,9,9,9\n",
        "names:\n  0: a\n  1: b\n",
    ],
    "labels_json": [
        '{"shapes": [{"label": "a", "points": [[1, 1], [9, 1.5], [3, 7]]}], "imageWidth": 12, "imageHeight": 8}',
        '{"images": [{"id": 1, "file_name": "a.png", "width": 12, "height": 8}], "categories": [{"id": 1, "name": "a"}],'
        ' "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": {"size": [8, 12], "counts": ":d0R2"}}]}',
        '{"a.png1": {"filename": "a.png", "regions": [{"shape_attributes": {"name": "rect", "x": 1, "y": 1, "width": 2,'
        ' "height": 2}, "region_attributes": {"label": "a"}}]}}',
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates":'
        ' [[[0, 0], [9, 0], [9, 7]]]}, "properties": {"label": "a"}}]}',
    ],
    "labels_xml": [
        "<annotation><object><name>a</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>7</ymax></bndbox>"
        "</object></annotation>",
    ],
    "journal": [
        '{"name": "a", "path": "a.jpg", "width": 4, "height": 3, "mask": "masks/a.png", "overlay": "", "fingerprint": "f",'
        ' "run": "r", "classes": [], "confidence": 0.5, "flags": [], "seconds": 0.1, "thumbnail": ""}\n',
    ],
    "coco_rle": ["\x0c\x08:d0R2"],
    "pickle": ["(lp0\n."],
}


def main():
    for target, files in FILES.items():
        folder = FUZZ / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            if file.is_file():
                shutil.copy(file, folder / file.name)
    for target, texts in TEXTS.items():
        folder = FUZZ / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for index, text in enumerate(texts):
            (folder / f"seed-{index}").write_bytes(text.encode())
    # A pickle is what follows the header of Cellpose's array.
    for file in FILES["npy"]:
        data = file.read_bytes()
        (FUZZ / "corpus" / "pickle" / file.stem).write_bytes(data[data.index(b"\n") + 1 :])


if __name__ == "__main__":
    main()
