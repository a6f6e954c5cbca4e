"""Counts objects in the pictures that are not labelled: by connected pieces of kshot's masks, by `kshot segment --objects`
from masks alone, and from masks with instance labels; last, what the best way to split the masks would give, which gives
each of their pixels to the nearest true object.

    pip install numpy pillow scipy
    cargo build --release
    python crates/kshot/benches/objects.py ../shared/data/nuclei [--seeds 3] [--kshot=--effort=fast ...]
    python crates/kshot/benches/objects.py ../shared/data/nuclei --leave-one-out

The folder holds images/, masks/ and instances/ (PNG of object numbers), and labelled.txt with the names of the labelled
pictures. With --leave-one-out only these are looked at, each in turn as the only one that is not labelled: settings are
chosen by this.

Told are, with 95 % bootstrap intervals over pictures (of each picture's mean over the seeds): the mean over pictures of
AP at an intersection over union of 0.5, TP / (TP + FP + FN) as the 2018 Data Science Bowl and StarDist have it; the mean
over pictures of the relative error of the number of objects; and both over all objects together.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

import numpy as np
from PIL import Image
from scipy import ndimage

OVERLAP = 0.5
RESAMPLES = 10_000


def numbers(path: pathlib.Path) -> np.ndarray:
    """Object numbers without gaps, 0 for none."""
    values = np.asarray(Image.open(path)).astype(np.int64)
    return np.unique(values, return_inverse=True)[1].reshape(values.shape) if values.min() == 0 else values


def matches(truth: np.ndarray, found: np.ndarray) -> tuple[int, int, int]:
    """True positives, true objects, found objects."""
    trues, founds = int(truth.max()), int(found.max())
    both = np.bincount(truth.ravel() * (founds + 1) + found.ravel(), minlength=(trues + 1) * (founds + 1))
    both = both.reshape(trues + 1, founds + 1)
    union = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    # An overlap of exactly one half may be with two; only more than that is sure to be with one.
    overlap = both[1:, 1:] / np.maximum(union[1:, 1:], 1)
    return min(int((overlap >= OVERLAP).any(1).sum()), int((overlap >= OVERLAP).any(0).sum())), trues, founds


def prepared(root: pathlib.Path, source: pathlib.Path, labelled: list[str], others: list[str], told: bool) -> None:
    """A support folder and a query folder."""
    kinds = ["images", "masks"] + (["instances"] if told else [])
    for kind in kinds:
        (root / "support" / kind).mkdir(parents=True)
        for name in labelled:
            shutil.copy(source / kind / f"{name}.png", root / "support" / kind)
    (root / "query").mkdir()
    for name in others:
        shutil.copy(source / "images" / f"{name}.png", root / "query")


def segmented(binary: str, root: pathlib.Path, seed: int, flags: list[str]) -> tuple[pathlib.Path, str, float]:
    """The output folder, what was chosen, and seconds."""
    out, started = root / "out", time.time()
    command = [binary, "segment", "--support", root / "support", "--query", root / "query", "--out", out]
    command += ["--objects", "--seed", str(seed), "--json", *flags]
    lines = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    fitted = [event for event in map(json.loads, lines.splitlines()) if event.get("event") == "fitted"]
    return out, json.dumps(fitted[0]["objects"] if fitted else None), time.time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--leave-one-out", action="store_true")
    parser.add_argument("--binary", default="target/release/kshot")
    parser.add_argument("--keep", type=pathlib.Path, help="folder that keeps what kshot wrote")
    parser.add_argument("--kshot", action="append", default=[], help="a further flag of kshot segment")
    options = parser.parse_args()
    labelled = (options.folder / "labelled.txt").read_text().split()
    every = sorted(path.stem for path in (options.folder / "images").glob("*.png"))
    rest = [name for name in every if name not in labelled]
    if options.leave_one_out:
        splits = [([of for of in labelled if of != name], [name]) for name in labelled]
    else:
        splits = [(labelled, rest)]
    variants = ["connected pieces", "--objects, masks alone", "--objects, with instances", "masks split by the truth"]
    counted = {variant: {} for variant in variants}
    for seed in range(options.seeds):
        for split, (some, others) in enumerate(splits):
            for told in [False, True]:
                with tempfile.TemporaryDirectory() as folder:
                    kept = options.keep and options.keep / f"{seed}-{split}-{'told' if told else 'masks'}"
                    root = kept or pathlib.Path(folder)
                    prepared(root, options.folder, some, others, told)
                    out, choice, seconds = segmented(options.binary, root, seed, options.kshot)
                    print(f"seed {seed}, {variants[1 + told]}: {seconds:.0f} s; {choice}", flush=True)
                    for name in others:
                        truth = numbers(options.folder / "instances" / f"{name}.png")
                        found = numbers(out / "objects" / f"{name}.png")
                        counted[variants[1 + told]].setdefault(name, []).append(matches(truth, found))
                        if not told:
                            pieces = ndimage.label(np.asarray(Image.open(out / "masks" / f"{name}.png")) == 1)[0]
                            counted[variants[0]].setdefault(name, []).append(matches(truth, pieces))
                            near = ndimage.distance_transform_edt(truth == 0, return_distances=False, return_indices=True)
                            split_by_truth = np.where(pieces > 0, truth[tuple(near)], 0)
                            split_by_truth = np.unique(split_by_truth, return_inverse=True)[1].reshape(truth.shape)
                            counted[variants[3]].setdefault(name, []).append(matches(truth, split_by_truth))
    random = np.random.default_rng(0)
    print("\n| objects by | AP at 0.5 | error of the number | AP, all together | error of the sum |\n|---|---|---|---|---|")
    for variant, pictures in counted.items():
        of = np.array(list(pictures.values()), dtype=float)  # pictures, seeds, (found, true, predicted)
        found, true, predicted = of[..., 0], of[..., 1], of[..., 2]
        precision = (found / np.maximum(true + predicted - found, 1)).mean(1)
        error = (np.abs(predicted - true) / np.maximum(true, 1)).mean(1)
        drawn = random.integers(0, len(of), (RESAMPLES, len(of)))
        low_high = lambda values: np.percentile(values[drawn].mean(1), [2.5, 97.5])
        pooled = found.sum(0) / (true + predicted - found).sum(0)
        total = np.abs(predicted.sum(0) - true.sum(0)) / true.sum(0)
        shown = lambda values: "{:.3f} ({:.3f} to {:.3f})".format(values.mean(), *low_high(values))
        print(f"| {variant} | {shown(precision)} | {shown(error)} | {pooled.mean():.3f} | {total.mean():.3f} |")
        worst = np.argsort(precision)[:6]
        names = list(pictures)
        print("  worst:", ", ".join(f"{names[at]} {precision[at]:.2f}" for at in worst))


if __name__ == "__main__":
    main()
