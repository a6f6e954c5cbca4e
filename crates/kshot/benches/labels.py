"""Validation mIoU on CamVid by the number of labelled frames, for each way to transfer: a table and a picture.

    pip install matplotlib
    cargo build --release
    python crates/kshot/benches/labels.py --out /tmp/labels [--counts 20 100 367] [--ways fine-tuned frozen] [--steps 400]

A finished run is not trained again, and one that was stopped goes on: the same command until all are there.
"""

import argparse
import json
import pathlib
import subprocess

KSHOT = "target/release/kshot"
RECIPE = "recipes/transfer/camvid-labels.toml"
WAYS = {
    "fine-tuned": [],
    "one rate": ["model.encoder_rate=1.0", "train.learning_rate=1e-3"],
    "frozen": ["model.freeze=encoder", "model.encoder_rate=1.0"],
    "adapters": ["model.lora={ rank = 8 }", "model.encoder_rate=1.0"],
    "from scratch": ["model.weights=none", "model.encoder_rate=1.0", "train.learning_rate=1e-3"],
}


def best(way: str, count: int, options: argparse.Namespace) -> float:
    """The best validation's mIoU of a run, which is trained if it is not there."""
    run = options.out / f"{way.replace(' ', '-')}-{count}"
    changes = [*WAYS[way], f'data.train={{ list = "train", count = {count}, seed = {options.seed} }}']
    changes += [f"train.steps={options.steps}", f"train.seed={options.seed}"]
    sets = [word for change in changes for word in ("--set", change)]
    subprocess.run([KSHOT, "train", RECIPE, "--out", run, "--quiet", *sets], check=True)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return max(json.loads(line)["validation"]["mean_iou"] for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--counts", type=int, nargs="+", default=[20, 100, 367])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", type=pathlib.Path, help="a PNG; by default curves.png in --out")
    options = parser.parse_args()
    table = {}
    for count in options.counts:
        for way in options.ways:
            table.setdefault(way, []).append(best(way, count, options))
            print(f"{way}, {count} frames: {100 * table[way][-1]:.1f}", flush=True)
    print("| | " + " | ".join(f"{count} frames" for count in options.counts) + " |")
    print("|---" * (1 + len(options.counts)) + "|")
    for way, values in table.items():
        print(f"| {way} | " + " | ".join(f"{100 * value:.1f}" for value in values) + " |")
    draw(table, options.counts, options.picture or options.out / "curves.png")


def draw(table: dict, counts: list[int], path: pathlib.Path) -> None:
    """Curves over the number of frames, which is drawn by its logarithm."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), dpi=120)
    for way, values in table.items():
        axes.plot(counts, [100 * value for value in values], marker="o", label=way)
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("labelled frames")
    axes.set_ylabel("mean IoU on the validation frames, %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
