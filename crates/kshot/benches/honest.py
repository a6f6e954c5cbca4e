"""What kshot expects of its masks against what they are, by labelled pictures and by strokes; groceries: of its classes.

    pip install numpy pillow scikit-image matplotlib
    cargo build --release
    python crates/kshot/benches/honest.py ../shared/data --out /tmp/honest [--folders nuclei retina] [--labels 1 3 6 strokes]
        [--draws 3] [--first 0] [--queries 20] [--kshot=--effort=fast ...]

Each draw labels pictures at random and segments others. A line of JSON a draw goes to OUT/draws.jsonl (a second run
does what is missing), the tables to the terminal and a picture to OUT/honest.png. Told are, by folder and labels: the
mean of expected minus true IoU (over all pixels of the segmented pictures), how often the interval holds the truth,
and the rank correlation (Spearman) of the pictures' estimates with their true IoU, where these are three or more. Of
groceries, ten classes a draw with so many pictures each are labelled and their other pictures sorted: the accuracy is
told in place of the IoU, and how often a picture sorted right has a higher probability than one sorted wrong (AUROC) in
place of the rank correlation.
"""

import argparse
import csv
import json
import pathlib
import random
import subprocess
import tempfile
import time

import numpy as np
from draws import VOID, counted_masks, kshot, pairs, rank_correlation, read_mask
from PIL import Image
from skimage.morphology import skeletonize

STROKE = 150
CLOTHES = 6
GROCERIES = 10


def relabelled(mask: np.ndarray, classes: list[int]) -> np.ndarray:
    """The classes numbered from 1, all others background, void as it is."""
    found = np.zeros_like(mask)
    for place, number in enumerate(classes, 1):
        found[mask == number] = place
    found[mask == VOID] = VOID
    return found


def folders(data: pathlib.Path) -> dict:
    """By name: pictures that may be labelled, pictures that may be segmented, and classes: `(picture, mask)`."""
    found = {}
    for name in ("nuclei", "retina"):
        all_of = [(image, read_mask(mask)) for image, mask in pairs(data / name)]
        found[name] = (all_of, all_of, [name])
    names = "sky building pole road pavement tree sign fence car pedestrian cyclist".split()

    def camvid(part: str) -> list:
        lines = (data / "camvid" / f"{part}.txt").read_text().split("\n")
        rows = [line.split() for line in lines if line]
        read = [(data / "camvid" / image, np.asarray(Image.open(data / "camvid" / mask))) for image, mask in rows]
        return [(image, np.where(mask >= 11, VOID, mask + 1).astype(np.uint8)) for image, mask in read]

    found["camvid"] = (camvid("train"), camvid("val"), names)
    clothes = [(image, np.asarray(Image.open(mask))) for image, mask in pairs(data / "clothing")]
    names = (data / "clothing/classes.txt").read_text().split("\n")
    pictures = np.zeros(256, int)
    for _, mask in clothes:
        pictures[np.unique(mask)] += 1
    pictures[[0, VOID]] = 0
    most = [int(number) for number in np.argsort(-pictures)[:CLOTHES]]
    clothes = [(image, relabelled(mask, most)) for image, mask in clothes]
    found["clothing"] = (clothes, clothes, [names[number] for number in most])
    voc = data / "VOCdevkit/VOC2007"
    numbers = {"bird": 3, "car": 7, "cat": 8, "horse": 13, "person": 15, "train": 19}
    lists = (voc / "ImageSets/Segmentation/trainval.txt").read_text().split()
    masks = {name: np.asarray(Image.open(voc / f"SegmentationClass/{name}.png")) for name in lists}
    for class_name, number in numbers.items():
        having = [name for name in lists if (masks[name] == number).mean() > 0.02]
        rows = [(voc / f"JPEGImages/{name}.jpg", relabelled(masks[name], [number])) for name in having]
        found[f"voc-{class_name}"] = (rows, rows, [class_name])
    return found


def strokes(mask: np.ndarray, draw: random.Random) -> np.ndarray:
    """A stroke a class, along the middle of its regions; the rest is not labelled."""
    drawn = np.full_like(mask, VOID)
    for number in np.unique(mask[mask != VOID]):
        region = mask == number
        middle = np.argwhere(skeletonize(region))
        at = draw.choice(middle.tolist() if len(middle) else np.argwhere(region).tolist())
        near = middle[np.argsort(np.abs(middle - at).sum(1))[:STROKE]] if len(middle) else np.array([at])
        for y, x in near:
            rows, columns = slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2)
            drawn[rows, columns][region[rows, columns]] = number
    return drawn


def drawn(pool: list, queries: list, labels: str, seed: int, most: int) -> tuple[list, list]:
    """What is labelled and what is segmented."""
    draw = random.Random(seed)
    pool, queries = list(pool), list(queries)
    draw.shuffle(pool)
    draw.shuffle(queries)
    count = 1 if labels == "strokes" else int(labels)
    labelled = pool[:count]
    files = {image for image, _ in labelled}
    if labels == "strokes":
        labelled = [(image, strokes(mask, draw)) for image, mask in labelled]
    return labelled, [row for row in queries if row[0] not in files][:most]


def segment(labelled: list, queries: list, classes: list[str], labels: str, flags: list[str]) -> dict:
    """One run of kshot, and what is true."""
    kind = "scribbles" if labels == "strokes" else "masks"
    run = kshot(labelled, queries, flags, kind, classes)
    choice, estimates = run["choice"], run["estimates"]
    truths = {image.stem: mask for image, mask in queries}
    iou, pictures = counted_masks(run["masks"], truths, len(classes) + 1)
    known = [name for name in pictures if not np.isnan(pictures[name])]
    return {
        "iou": iou,
        "expected": choice["expected"]["mean_iou"],
        "method": choice["method"],
        "seconds": round(run["seconds"], 1),
        "rank_correlation": rank_correlation(
            [estimates[name] for name in known], [pictures[name] for name in known]
        ),
        "pictures": {name: [estimates[name], pictures[name], run["flags"][name]] for name in known},
    }


def sort_groceries(data: pathlib.Path, labels: int, seed: int) -> dict:
    """One run of `kshot classify` on ten classes: labelled are training pictures, sorted are all test pictures."""
    draw = random.Random(seed)
    classes = draw.sample(sorted(path.name for path in (data / "grocery/train").iterdir()), GROCERIES)
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        for name in classes:
            labelled = sorted((data / "grocery/train" / name).iterdir())
            draw.shuffle(labelled)
            for part, pictures in (("support", labelled[:labels]), ("query", (data / "grocery/test" / name).iterdir())):
                (root / part / name).mkdir(parents=True)
                for path in pictures:
                    (root / part / name / path.name).symlink_to(path.resolve())
        command = ["target/release/kshot", "classify", "--json"]
        command += ["--support", root / "support", "--query", root / "query", "--out", root / "out"]
        started = time.time()
        lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        seconds = time.time() - started
        events = [json.loads(line) for line in lines.splitlines()]
        choice = next(event["choice"] for event in events if event["event"] == "fitted")
        with open(root / "out/labels.csv", newline="") as table:
            rows = list(csv.DictReader(table))
    pictures = {row["file"]: [float(row["probability"]), float(row["class"] == row["truth"]), ""] for row in rows}
    right = [estimate for estimate, true, _ in pictures.values() if true]
    wrong = [estimate for estimate, true, _ in pictures.values() if not true]
    expected = choice["expected"]
    if expected:
        expected = dict(zip(("low", "high"), expected["interval"])) | {"mean": expected["accuracy"]}
    return {
        "iou": len(right) / len(pictures),
        "expected": expected,
        "method": choice["method"],
        "seconds": round(seconds, 1),
        "rank_correlation": float(np.mean([(one > two) + 0.5 * (one == two) for one in right for two in wrong])),
        "pictures": pictures,
    }


def told(runs: list[dict]) -> None:
    """The table."""
    print(f"{'folder':14} {'labels':8} n  true   expected-true  in interval  rank correlation")
    for folder, labels in dict.fromkeys((run["folder"], run["labels"]) for run in runs):
        some = [run for run in runs if (run["folder"], run["labels"]) == (folder, labels)]
        known = [run for run in some if run["expected"]]
        gaps = [run["expected"]["mean"] - run["iou"] for run in known if run["expected"]["mean"] is not None]
        held = [run["expected"]["low"] <= run["iou"] <= run["expected"]["high"] for run in known]
        order = [run["rank_correlation"] for run in some if len(run["pictures"]) > 2]
        gap = f"{100 * np.mean(gaps):+6.1f}" if gaps else "     –"
        inside = f"{sum(held)} of {len(held)}"
        values = " ".join(f"{value:.2f}" for value in order)
        print(
            f"{folder:14} {labels:8} {len(some)}  {100 * np.mean([run['iou'] for run in some]):4.1f}  {gap:>13}  "
            f"{inside:>11}  {np.nanmean(order):.2f} ({values})"
        )
    known = [run for run in runs if run["expected"]]
    gaps = [run["expected"]["mean"] - run["iou"] for run in known if run["expected"]["mean"] is not None]
    held = [run["expected"]["low"] <= run["iou"] <= run["expected"]["high"] for run in known]
    print(f"all: the interval holds {sum(held)} of {len(held)}")
    if gaps:
        distance = 100 * np.mean(np.abs(gaps))
        print(f"expected minus true {100 * np.mean(gaps):+.1f} (mean distance {distance:.1f}) of {len(gaps)} with a figure")


def pictured(runs: list[dict], file: pathlib.Path) -> None:
    """Expected with its interval against true, and the pictures' estimates against true."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 5.4))
    colours = {name: f"C{place}" for place, name in enumerate(dict.fromkeys(run["folder"] for run in runs))}
    marks = {"1": "o", "3": "s", "6": "D", "strokes": "x"}
    for run in runs:
        colour, expected = colours[run["folder"]], run["expected"]
        if expected:
            x = 100 * run["iou"]
            axes[0].plot([x, x], [100 * expected["low"], 100 * expected["high"]], color=colour, lw=0.7, alpha=0.5)
            if expected["mean"] is not None:
                axes[0].plot(x, 100 * expected["mean"], marks.get(run["labels"], "."), color=colour, ms=5)
        for estimate, true, _ in run["pictures"].values() if run["folder"] != "groceries" else ():
            axes[1].plot(100 * true, 100 * estimate, ".", color=colour, ms=2.5, alpha=0.5)
    for axis, title in zip(axes, ("of a folder, from held-out labels", "of a picture")):
        axis.plot([0, 100], [0, 100], color="black", lw=0.5)
        axis.set(xlim=(0, 100), ylim=(0, 100), xlabel="true IoU (%)", ylabel="expected IoU (%)", title=title)
    for name, colour in colours.items():
        axes[0].plot([], [], "s", color=colour, label=name)
    for labels, mark in marks.items():
        axes[0].plot([], [], mark, color="black", label=labels if labels == "strokes" else f"{labels} labelled")
    axes[0].legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--folders", nargs="*")
    parser.add_argument("--labels", nargs="*", default=["1", "3", "6", "strokes"])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first draw's seed")
    parser.add_argument("--queries", type=int, default=20, help="pictures to segment, at most")
    parser.add_argument("--kshot", action="append", default=[], help="a flag of kshot segment")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    journal = options.out / "draws.jsonl"
    runs = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    done = {(run["folder"], run["labels"], run["seed"]) for run in runs}
    known = folders(options.data)
    for seed in range(options.first, options.first + options.draws):
        for folder in options.folders or [*known, "groceries"]:
            for labels in options.labels:
                if (folder, labels, seed) in done or (folder, labels) == ("groceries", "strokes"):
                    continue
                run = {"folder": folder, "labels": labels, "seed": seed}
                if folder == "groceries":
                    run |= sort_groceries(options.data, int(labels), seed)
                else:
                    pool, queries, classes = known[folder]
                    labelled, asked = drawn(pool, queries, labels, seed, options.queries)
                    run |= segment(labelled, asked, classes, labels, options.kshot)
                runs.append(run)
                with journal.open("a") as lines:
                    lines.write(json.dumps(run) + "\n")
                print({key: value for key, value in run.items() if key != "pictures"}, flush=True)
    told(runs)
    pictured(runs, options.out / "honest.png")


if __name__ == "__main__":
    main()
