"""How long an Omniglot episode takes to draw, the way torchmeta draws it.

    pip install torch pillow numpy
    python crates/kshot/benches/episodes.py ../shared/data/omniglot/images_background.zip

torchmeta keeps a class's drawings decoded (105x105, in HDF5; here in memory, which is faster), and for each
picture of each task makes a PIL image, applies the class's rotation and the transform Resize(28), ToTensor,
inverts, and collates. `cargo bench --workspace --bench episodes` draws the same episodes in kshot; neither
uses worker processes.
"""

import io
import random
import statistics
import sys
import time
import zipfile
from collections import defaultdict

import numpy as np
import torch
from PIL import Image

QUERIES = 5


def read(path: str) -> list[list[np.ndarray]]:
    classes = defaultdict(list)
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".png"):
                picture = Image.open(io.BytesIO(archive.read(name))).convert("L")
                classes[name.rsplit("/", 1)[0]].append(np.asarray(picture))
    return list(classes.values())


def to_tensor(picture: Image.Image) -> torch.Tensor:
    values = torch.from_numpy(np.array(picture.resize((28, 28), Image.BILINEAR), np.uint8))
    return 1.0 - values.unsqueeze(0).float().div(255)


def episode(classes: list[list[np.ndarray]], ways: int) -> tuple[torch.Tensor, torch.Tensor]:
    chosen = random.sample(range(len(classes) * 4), ways)
    parts: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for number in chosen:
        drawings, turns = classes[number // 4], number % 4
        for place, picture in enumerate(random.sample(drawings, 1 + QUERIES)):
            image = Image.fromarray(picture).rotate(90 * turns)
            parts[place > 0].append(to_tensor(image))
    return torch.stack(parts[0]), torch.stack(parts[1])


def main() -> None:
    torch.set_num_threads(2)
    classes = read(sys.argv[1])
    for ways in (5, 20, 60):
        times = []
        for _ in range(60):
            started = time.perf_counter()
            episode(classes, ways)
            times.append(time.perf_counter() - started)
        print(f"{ways}-way 1-shot, {QUERIES} queries: {statistics.median(times) * 1e3:.3f} ms")


if __name__ == "__main__":
    main()
