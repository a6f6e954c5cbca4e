"""Segments from a few labelled pictures drawn at random, by kshot and by what users of ilastik and scikit-image do: a
random forest on multi-scale filters of the pixels (`skimage.feature.multiscale_basic_features`), in the same run.

    pip install numpy pillow scikit-image scikit-learn
    cargo build --release
    python crates/kshot/benches/draws.py ../shared/data/retina --labelled 3 --draws 3 [--kshot=--effort=fast ...]

The folder holds images/ and masks/ (index PNG: 0 background, 255 void; 0 and 255 alone are a binary mask). Each draw
labels some pictures and segments all others. Told are the foreground's IoU over all pixels, the mean over pictures,
what kshot had expected, the rank correlation of its estimates with the pictures' IoU, and seconds.
"""

import argparse
import csv
import json
import pathlib
import random
import subprocess
import tempfile
import time
import tomllib

import numpy as np
from PIL import Image
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

VOID = 255
PIXELS_A_CLASS = 4_000


def pairs(folder: pathlib.Path) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Pictures with their masks."""
    found = []
    for image in sorted((folder / "images").iterdir()):
        mask = folder / "masks" / f"{image.stem}.png"
        if mask.exists():
            found.append((image, mask))
    return found


def read_mask(path: pathlib.Path) -> np.ndarray:
    """Class numbers; a mask of 0 and 255 is one class."""
    mask = np.asarray(Image.open(path))
    return (mask > 0).astype(np.uint8) if set(np.unique(mask)) <= {0, VOID} else mask


def features(path: pathlib.Path) -> np.ndarray:
    """[height, width, filters]"""
    picture = np.asarray(Image.open(path).convert("RGB"))
    return multiscale_basic_features(picture, channel_axis=-1, sigma_min=1, sigma_max=16)


def forest(labelled: list, others: list) -> tuple[dict[str, np.ndarray], float]:
    """What a random forest labels the others, and its seconds."""
    started, random_state = time.time(), np.random.default_rng(0)
    rows, classes = [], []
    for image, mask in labelled:
        labels, values = read_mask(mask), features(image)
        for label in np.unique(labels[labels != VOID]):
            places = np.flatnonzero(labels.ravel() == label)
            places = random_state.choice(places, min(len(places), PIXELS_A_CLASS), replace=False)
            rows.append(values.reshape(-1, values.shape[-1])[places])
            classes.append(np.full(len(places), label))
    trees = RandomForestClassifier(50, max_depth=12, max_samples=0.5, n_jobs=2, random_state=0)
    trees.fit(np.concatenate(rows), np.concatenate(classes))
    found = {}
    for image, _ in others:
        values = features(image)
        labels = trees.predict(values.reshape(-1, values.shape[-1]))
        found[image.stem] = labels.reshape(values.shape[:2])
    return found, time.time() - started


def lay_out(root: pathlib.Path, labelled: list, others: list, kind: str = "masks", classes: list[str] | None = None):
    """Folders support/ (pictures with their labels: files, or arrays of class numbers) and query/ below `root`."""
    for name in ("support/images", f"support/{kind}", "query"):
        (root / name).mkdir(parents=True)
    if classes:
        (root / "support/classes.txt").write_text("\n".join(classes) + "\n")
    for image, labels in labelled:
        (root / "support/images" / image.name).symlink_to(image.resolve())
        to = root / f"support/{kind}/{image.stem}.png"
        if isinstance(labels, pathlib.Path):
            to.symlink_to(labels.resolve())
        else:
            Image.fromarray(labels).save(to)
    for image, _ in others:
        (root / "query" / image.name).symlink_to(image.resolve())


def kshot(labelled: list, others: list, flags: list[str], kind: str = "masks", classes: list[str] | None = None) -> dict:
    """One run on pictures with their labels (files, or arrays of class numbers): what it left, and its seconds."""
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        lay_out(root, labelled, others, kind, classes)
        command = ["target/release/kshot", "segment", "--json", *flags]
        command += ["--support", root / "support", "--query", root / "query", "--out", root / "out"]
        started = time.time()
        lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        seconds = time.time() - started
        events = [json.loads(line) for line in lines.splitlines()]
        with open(root / "out/labels.csv", newline="") as table:
            rows = {pathlib.Path(row["file"]).stem: row for row in csv.DictReader(table)}
        return {
            "masks": {image.stem: read_mask(root / f"out/masks/{image.stem}.png") for image, _ in others},
            "seconds": seconds,
            "choice": next(event["choice"] for event in events if event["event"] == "fitted"),
            "estimates": {name: float(row["picture_confidence"]) for name, row in rows.items()},
            "flags": {name: row["flags"] for name, row in rows.items()},
            "label_next": tomllib.loads((root / "out/run.toml").read_text()).get("label_next", []),
        }


def counted(found: dict[str, np.ndarray], others: list) -> tuple[float, dict[str, float]]:
    """The foreground's mean IoU over all pixels, and of each picture."""
    truths = {image.stem: read_mask(mask) for image, mask in others}
    classes = max(int(truth[truth != VOID].max(initial=0)) for truth in truths.values()) + 1
    return counted_masks(found, truths, classes)


def counted_masks(found: dict, truths: dict, classes: int) -> tuple[float, dict[str, float]]:
    """The same of masks that were read, of so many classes with background."""
    pictures, total = {}, np.zeros((classes, classes), int)
    for name, truth in truths.items():
        known = truth != VOID
        labels = np.minimum(found[name][known], classes - 1).astype(int)
        pairs_of = truth[known].astype(int) * classes + labels
        matrix = np.bincount(pairs_of, minlength=classes**2).reshape(classes, classes)
        total += matrix
        pictures[name] = mean_iou(matrix)
    return mean_iou(total), pictures


def mean_iou(matrix: np.ndarray) -> float:
    """Over the classes that occur, without background."""
    common, union = np.diag(matrix), matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    known = union[1:] > 0
    return float((common[1:][known] / union[1:][known]).mean()) if known.any() else float("nan")


def rank_correlation(one: list[float], other: list[float]) -> float:
    """Spearman's."""
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--labelled", type=int, default=5)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first draw's seed")
    parser.add_argument("--kshot", action="append", default=[], help="a flag of kshot segment")
    options = parser.parse_args()
    everything, ious = pairs(options.folder), []
    for seed in range(options.first, options.first + options.draws):
        drawn = list(everything)
        random.Random(seed).shuffle(drawn)
        labelled, others = drawn[: options.labelled], drawn[options.labelled :]
        run = kshot(labelled, others, options.kshot)
        seconds, choice, estimates = run["seconds"], run["choice"], run["estimates"]
        iou, pictures = counted(run["masks"], others)
        peer, peer_seconds = forest(labelled, others)
        peer_iou, _ = counted(peer, others)
        known = [name for name in pictures if not np.isnan(pictures[name])]
        order = rank_correlation([estimates[name] for name in known], [pictures[name] for name in known])
        expected = choice["expected"]["mean_iou"]
        print(
            f"seed {seed}: kshot {iou:.4f} (pictures {np.nanmean(list(pictures.values())):.3f}, {seconds:.1f} s, "
            f"{choice['method']}, expected {json.dumps(expected)}, rank correlation {order:.2f}); "
            f"forest {peer_iou:.4f} ({peer_seconds:.1f} s)",
            flush=True,
        )
        ious.append((iou, peer_iou))
    means = np.mean(ious, axis=0)
    print(f"mean of {len(ious)} draws: kshot {means[0]:.4f}, forest {means[1]:.4f}")


if __name__ == "__main__":
    main()
