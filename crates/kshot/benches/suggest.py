"""What two more labels are worth: the two pictures that kshot suggests, two at random, and the two least certain.

    pip install numpy pillow scikit-image
    cargo build --release
    python crates/kshot/benches/suggest.py ../shared/data --out /tmp/suggest [--folders nuclei retina voc-person]
        [--labelled 3] [--draws 20] [--queries 40] [--kshot=--effort=fast]

Each draw labels pictures at random and segments others; then two more are labelled, chosen in each of the ways, and
all is segmented again. Told is the mean IoU of the pictures that no way chose, before and after, and the mean over
draws of the suggested ones' gain less the random ones', with a 95 % bootstrap interval over draws. A line of JSON a
draw goes to OUT/draws.jsonl; a second run does what is missing.
"""

import argparse
import json
import pathlib
import random

import numpy as np
from draws import counted_masks, kshot
from honest import drawn, folders

MORE = 2


def played(pool: list, queries: list, classes: list[str], seed: int, options: argparse.Namespace) -> dict:
    """One draw."""
    labelled, asked = drawn(pool, queries, str(options.labelled), seed, options.queries)
    before = kshot(labelled, asked, options.kshot, classes=classes)
    suggested = [pathlib.Path(name).stem for name in before["label_next"]]
    names = [image.stem for image, _ in asked]
    ways = {
        "suggested": suggested[:MORE],
        "random": random.Random(seed).sample(names, MORE),
        "least certain": sorted(names, key=before["estimates"].get)[:MORE],
    }
    taken = {name for chosen in ways.values() for name in chosen}
    truths = {image.stem: mask for image, mask in asked if image.stem not in taken}

    def iou(found: dict) -> float:
        _, pictures = counted_masks(found, truths, len(classes) + 1)
        return float(np.nanmean(list(pictures.values())))

    run = {"before": iou(before["masks"])}
    for way, chosen in ways.items():
        more = [row for row in asked if row[0].stem in chosen]
        run[way] = iou(kshot(labelled + more, asked, options.kshot, classes=classes)["masks"])
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--folders", nargs="*", default=["nuclei", "retina", "voc-person"])
    parser.add_argument("--labelled", type=int, default=3)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first draw's seed")
    parser.add_argument("--queries", type=int, default=40, help="pictures to segment, at most")
    parser.add_argument("--kshot", action="append", default=[], help="a flag of kshot segment")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    journal = options.out / "draws.jsonl"
    runs = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    done = {(run["folder"], run["seed"]) for run in runs}
    known = folders(options.data)
    for seed in range(options.first, options.first + options.draws):
        for folder in options.folders:
            if (folder, seed) in done:
                continue
            run = {"folder": folder, "seed": seed} | played(*known[folder], seed, options)
            runs.append(run)
            with journal.open("a") as lines:
                lines.write(json.dumps(run) + "\n")
            print(run, flush=True)
    resampled = np.random.default_rng(0)
    for folder in options.folders:
        some = [run for run in runs if run["folder"] == folder]
        means = {key: 100 * np.mean([run[key] for run in some]) for key in some[0] if key not in ("folder", "seed")}
        gains = np.array([100 * (run["suggested"] - run["random"]) for run in some])
        draws = resampled.choice(gains, (2000, len(gains))).mean(1)
        low, high = np.quantile(draws, [0.025, 0.975])
        told = ", ".join(f"{key} {value:.1f}" for key, value in means.items())
        print(f"{folder}, {len(some)} draws: {told}; suggested less random {gains.mean():+.1f} ({low:+.1f} to {high:+.1f})")


if __name__ == "__main__":
    main()
