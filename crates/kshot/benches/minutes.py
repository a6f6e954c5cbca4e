"""What `kshot train --data X --minutes M` reaches, beside `kshot segment --support` (its `auto`) on the same labelled
pictures and beside nnU-Net's plain U-Net (recipes/nuclei/nnunet.toml) given ten times as long.

    pip install numpy pillow scikit-image scikit-learn
    cargo build --release
    python crates/kshot/benches/minutes.py ../shared/data/retina --labelled 3 --minutes 10 [--nnunet 10] [--auto]
    python crates/kshot/benches/minutes.py ../shared/data/camvid --labelled 46 --minutes 10
    python crates/kshot/benches/minutes.py ../shared/data/nuclei --labelled 6 --minutes 4 \\
        --try 'ema: train.ema=0.99' --try 'wide: model.decoder={name="unet",width=32}; train.batch=8'

    python crates/kshot/benches/minutes.py ../shared/data/nuclei --labelled 6 --list labelled.txt --minutes 10 --auto

A draw labels some pictures (--list: those that a file of the folder names, in its order); all others are segmented and
scored (of CamVid the pictures are drawn from train.txt, and those of val.txt are scored). Told are the mean IoU of the classes over all pixels (background does not count), the
foreground's Dice where there is one class, and seconds. `--try 'NAME: KEY=VALUE; ...'` trains a second time, with
these keys set; what the plan gives is called `plan`. Rows also go to --out as JSON lines.
"""

import argparse
import json
import pathlib
import random
import subprocess
import tempfile
import time
import tomllib

import numpy as np
from PIL import Image

from draws import VOID, counted_masks, lay_out, pairs, read_mask
from draws import kshot as segment_by_auto

KSHOT = "target/release/kshot"
NNUNET = pathlib.Path("recipes/nuclei/nnunet.toml")
CAMVID = "sky building pole road pavement tree sign fence car pedestrian bicyclist".split()


def camvid(folder: pathlib.Path, part: str) -> list:
    """Pictures with class numbers from 1, void 255."""
    found = []
    for line in (folder / f"{part}.txt").read_text().splitlines():
        image, mask = (folder / word for word in line.split())
        labels = np.asarray(Image.open(mask))
        found.append((image, np.where(labels == 11, VOID, labels + 1).astype(np.uint8)))
    return found


def nnunet() -> list[str]:
    """The keys of nnU-Net's recipe that say how to train."""
    recipe = tomllib.loads(NNUNET.read_text())
    keys = {"data": ["transforms"], "model": None, "loss": None, "predict": None}
    keys["train"] = ["batch", "balanced", "optimizer", "learning_rate"]
    changes = []
    for table, names in keys.items():
        for key in names or recipe[table]:
            changes.append(f"{table}.{key}={toml(recipe[table][key])}")
    return [*changes, 'train.schedule={name = "poly", power = 0.9}']


def toml(value) -> str:
    """A value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def trained(labelled: list, others: list, minutes: float | None, changes: list[str], classes: list[str] | None) -> dict:
    """Masks of the others by a network that was trained so long (None: as `train.steps` among the changes says), seconds,
    and what the plan chose."""
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        lay_out(root, labelled, others, classes=classes)
        sets = [word for change in changes for word in ("--set", change)]
        started = time.time()
        run = [KSHOT, "train", "--data", root / "support", "--out", root / "run", "--quiet"]
        budget = [] if minutes is None else ["--minutes", str(minutes)]
        subprocess.run([*run, *budget, *sets], check=True)
        took = time.time() - started
        run = [KSHOT, "segment", "--model", root / "run", "--query", root / "query", "--out", root / "out", "--quiet"]
        subprocess.run(run, check=True)
        curve = [json.loads(line) for line in (root / "run/metrics.jsonl").read_text().splitlines()]
        return {
            "masks": {image.stem: read_mask(root / f"out/masks/{image.stem}.png") for image, _ in others},
            "seconds": took,
            "steps": curve[-1]["step"],
            "recipe": (root / "run/recipe.toml").read_text(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--labelled", type=int, required=True)
    parser.add_argument("--list", help="a file of the folder with names: its first ones are labelled, not drawn ones")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--steps", type=int, help="so many steps, whatever they take, in place of --minutes")
    parser.add_argument("--every", type=int, default=1, help="score every so manieth of the others alone")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first draw's seed")
    parser.add_argument("--auto", action="store_true", help="also kshot segment --support")
    parser.add_argument("--nnunet", type=float, default=0, help="also nnU-Net's recipe, so many times as long")
    parser.add_argument("--try", dest="tries", action="append", default=[], metavar="'NAME: KEY=VALUE; ...'")
    parser.add_argument("--no-plan", action="store_true", help="only what --try, --auto and --nnunet say")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    is_camvid = (options.folder / "train.txt").exists() and not (options.folder / "images").exists()
    everything = camvid(options.folder, "train") if is_camvid else pairs(options.folder)
    options.minutes = None if options.steps else options.minutes
    steps = [f"train.steps={options.steps}"] if options.steps else []
    runs = [] if options.no_plan else [("plan", options.minutes, steps)]
    for one in options.tries:
        name, _, changes = one.partition(":")
        changes = [change.strip() for change in changes.split(";") if change.strip()]
        runs.append((name, options.minutes, [*steps, *changes]))
    if options.nnunet and options.steps:
        parser.error("--nnunet is for a time, not for --steps")
    if options.nnunet:
        runs.append(("nnunet", options.minutes * options.nnunet, nnunet()))
    for seed in range(options.first, options.first + options.draws):
        drawn = list(everything)
        random.Random(seed).shuffle(drawn)
        if options.list:
            names = [pathlib.Path(line).stem for line in (options.folder / options.list).read_text().split()]
            drawn.sort(key=lambda pair: names.index(pair[0].stem) if pair[0].stem in names else len(names))
        labelled, others = drawn[: options.labelled], drawn[options.labelled :]
        others = (camvid(options.folder, "val") if is_camvid else others)[:: options.every]
        truths = {image.stem: labels if is_camvid else read_mask(labels) for image, labels in others}
        names = CAMVID if is_camvid else None
        classes = 1 + max(int(truth[truth != VOID].max(initial=0)) for truth in truths.values())

        def tell(name: str, run: dict) -> None:
            iou, pictures = counted_masks(run["masks"], truths, classes)
            row = {"folder": options.folder.name, "labelled": options.labelled, "seed": seed, "name": name}
            row |= {"iou": iou, "pictures": float(np.nanmean(list(pictures.values()))), "seconds": run["seconds"]}
            row |= {"steps": run.get("steps"), "minutes": options.minutes}
            dice = f", Dice {2 * iou / (1 + iou):.4f}" if classes == 2 else ""
            print(f"seed {seed} {name}: IoU {iou:.4f}{dice}, {run['seconds']:.0f} s, {run.get('steps')} steps", flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")

        if options.auto:
            tell("auto", segment_by_auto(labelled, others, [], classes=names))
        for name, minutes, changes in runs:
            tell(name, trained(labelled, others, minutes, changes, names))


if __name__ == "__main__":
    main()
