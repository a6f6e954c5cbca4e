"""Makes examples/: real photographs shipped by scikit-image, cut into pictures and labelled.

    python -m venv .venv && .venv/bin/pip install scikit-image && .venv/bin/python golden/make_examples.py

The coins' outlines come from a watershed on the gradient, corrected by filling; the tissue's labels are strokes drawn by hand
(the coordinates below). Credits are in NOTICE.
"""

import pathlib

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage as ndi
from skimage import data, filters, measure, morphology, segmentation

ROOT = pathlib.Path(__file__).resolve().parent.parent / "examples"
VOID_OR_BLANK = 255


def index_png(array, path, colours):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array.astype(np.uint8), mode="P")
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colours)] = colours
    palette[VOID_OR_BLANK] = (224, 224, 192)
    image.putpalette(palette.flatten().tolist())
    image.save(path, optimize=True)


def save(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, optimize=True)


def coin_mask(coins):
    background = filters.gaussian(coins.astype(float), 40)
    markers = np.zeros_like(coins, dtype=int)
    flat = coins - background
    markers[flat < 0] = 1
    markers[coins > 140] = 2
    mask = segmentation.watershed(filters.sobel(coins), markers) == 2
    mask = ndi.binary_fill_holes(mask)
    mask = morphology.remove_small_objects(mask, max_size=200)
    return morphology.opening(mask, morphology.disk(3))


def coins():
    picture = data.coins()
    mask = coin_mask(picture)
    height, width = picture.shape
    root = ROOT / "coins"
    boxes = ["image,xmin,ymin,xmax,ymax,class"]
    for index in range(6):
        row, column = divmod(index, 3)
        rows = slice(row * 150, row * 150 + 150)
        columns = slice(column * 128, column * 128 + 128)
        name = f"coins-{index + 1}"
        part, truth = picture[rows, columns], mask[rows, columns]
        labelled = {0: "mask", 2: "boxes", 4: "scribble"}.get(index)
        if labelled is None:
            save(part, root / "query" / f"{name}.png")
            index_png(truth, root / "truth" / f"{name}.png", [(0, 0, 0), (230, 159, 0)])
            continue
        save(part, root / "support" / "images" / f"{name}.png")
        if labelled == "mask":
            index_png(truth, root / "support" / "masks" / f"{name}.png", [(0, 0, 0), (230, 159, 0)])
        elif labelled == "boxes":
            for piece in measure.regionprops(measure.label(truth)):
                top, left, bottom, right = piece.bbox
                boxes.append(f"{name}.png,{left},{top},{right},{bottom},coin")
        else:
            strokes = np.full(part.shape, VOID_OR_BLANK, np.uint8)
            drawing = Image.fromarray(strokes)
            pen = ImageDraw.Draw(drawing)
            for piece in measure.regionprops(measure.label(truth)):
                y, x = piece.centroid
                radius = piece.equivalent_diameter_area * 0.25
                pen.line([(x - radius, y - radius), (x + radius, y + radius)], fill=1, width=3)
            pen.line([(8, 72), (118, 76)], fill=0, width=3)
            pen.line([(62, 6), (66, 140)], fill=0, width=3)
            strokes = np.array(drawing)
            strokes[(strokes == 0) & ndi.binary_dilation(truth, iterations=3)] = VOID_OR_BLANK
            index_png(strokes, root / "support" / "scribbles" / f"{name}.png", [(0, 0, 0), (230, 159, 0)])
    (root / "support" / "boxes.csv").write_text("\n".join(boxes) + "\n")
    (root / "support" / "classes.txt").write_text("coin\n")
    save(data.chelsea()[40:190, 100:228], root / "query" / "cat.png")


def tissue():
    picture = data.immunohistochemistry()
    root = ROOT / "tissue"
    (root / "support").mkdir(parents=True, exist_ok=True)
    (root / "support" / "classes.txt").write_text("gland\nstroma\n")
    for index in range(4):
        row, column = divmod(index, 2)
        part = picture[row * 256 : row * 256 + 256, column * 256 : column * 256 + 256]
        name = f"tissue-{index + 1}"
        if index == 2:
            save(part, root / "support" / "images" / f"{name}.png")
            drawing = Image.new("L", (256, 256), VOID_OR_BLANK)
            pen = ImageDraw.Draw(drawing)
            pen.line([(15, 20), (75, 75), (120, 130), (110, 220)], fill=1, width=4)
            pen.line([(60, 190), (70, 245)], fill=1, width=4)
            pen.line([(100, 12), (150, 40), (180, 80), (190, 150), (220, 235)], fill=2, width=4)
            pen.line([(165, 100), (172, 190)], fill=2, width=4)
            pen.line([(8, 80), (30, 130), (20, 230)], fill=0, width=4)
            index_png(
                np.array(drawing),
                root / "support" / "scribbles" / f"{name}.png",
                [(0, 0, 0), (230, 159, 0), (86, 180, 233)],
            )
        else:
            save(part, root / "query" / f"{name}.png")


coins()
tissue()
