"""The drawings of `kshot demo omniglot`: eight characters of no alphabet, each drawn five times.

    pip install pillow numpy
    python golden/make_drawings.py

A character is a few strokes through points; each drawing moves the points, tilts and scales the whole, and
draws it with a pen of three pixels on 105x105, as Omniglot's are. The first drawing of each goes to
`examples/drawings/support`, the others to `examples/drawings/query`, in folders by character, so that the labels can be judged.
"""

import math
import random
import shutil
from pathlib import Path

from PIL import Image, ImageDraw

random.seed(7)
OUT = Path(__file__).parent.parent / "examples" / "drawings"
CHARACTERS = {
    "anchor": [[(50, 15), (50, 85)], [(22, 62), (34, 82), (50, 86), (66, 82), (80, 62)], [(36, 30), (64, 30)]],
    "fork": [[(28, 15), (30, 45), (50, 56), (72, 44), (74, 14)], [(50, 14), (50, 90)]],
    "gate": [[(20, 88), (20, 22), (80, 22), (80, 88)], [(20, 52), (80, 52)]],
    "hook": [[(30, 18), (66, 18), (66, 62), (52, 84), (32, 74)], [(66, 40), (86, 40)]],
    "kite": [[(50, 12), (76, 40), (50, 68), (24, 40), (50, 12)], [(50, 68), (58, 80), (46, 92)]],
    "snail": [[(50, 52), (60, 46), (62, 60), (46, 66), (36, 50), (48, 32), (72, 36), (78, 62), (60, 84), (24, 86)]],
    "tree": [[(50, 90), (50, 14)], [(50, 60), (24, 40)], [(50, 60), (78, 42)], [(50, 34), (34, 20)], [(50, 34), (68, 20)]],
    "wave": [[(12, 40), (28, 22), (46, 42), (62, 58), (80, 40), (92, 26)], [(14, 74), (86, 74)]],
}


def smooth(points, steps=12):
    """A Catmull-Rom curve through the points."""
    padded = [points[0], *points, points[-1]]
    curve = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:]):
        for step in range(steps):
            t = step / steps
            curve.append(tuple(
                0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3)
                for p, q, r, s in zip(a, b, c, d)
            ))
    return [*curve, points[-1]]


def drawing(strokes):
    angle, scale = random.gauss(0, 0.09), random.uniform(0.8, 1.05)
    shear, dx, dy = random.gauss(0, 0.1), random.gauss(0, 4), random.gauss(0, 4)
    picture = Image.new("L", (315, 315), 255)
    pen = ImageDraw.Draw(picture)
    for stroke in strokes:
        moved = []
        for x, y in smooth([(x + random.gauss(0, 2.4), y + random.gauss(0, 2.4)) for x, y in stroke]):
            x, y = (x - 50) * scale, (y - 50) * scale
            x, y = x + shear * y, y
            x, y = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
            moved.append((3 * (x + 52 + dx), 3 * (y + 52 + dy)))
        pen.line(moved, fill=0, width=9, joint="curve")
    return picture.resize((105, 105), Image.LANCZOS).point(lambda value: 255 if value > 150 else 0).convert("1")


shutil.rmtree(OUT, ignore_errors=True)
for name, strokes in CHARACTERS.items():
    for number in range(1, 6):
        folder = OUT / ("support" if number == 1 else "query") / name
        folder.mkdir(parents=True, exist_ok=True)
        drawing(strokes).save(folder / f"{number}.png", optimize=True)
