"""Mean IoU on CamVid by the number of labelled frames, for each way to transfer: tables and a picture.

    pip install matplotlib
    cargo build --release
    python crates/kshot/benches/labels.py --out /tmp/labels [--families network place] [--ways fine-tuned frozen]
        [--counts 20 100] [--steps 300]

Family `network`: what of the encoder learns, on 20, 100 or 367 frames of the training list, by the best validation on the
101 validation frames (recipes/transfer/camvid-labels.toml). Family `place`: 20, 100 or 305 frames by day, measured on 31
frames at dusk whose labels nothing has seen; the checkpoint is chosen by day (recipes/transfer/camvid-dusk-*.toml).

A finished run is not trained again, and one that was stopped goes on: the same command until all are there.
"""

import argparse
import json
import pathlib
import subprocess

KSHOT = "target/release/kshot"
RECIPES = pathlib.Path("recipes/transfer")
DAY = 'exclude = ["0001TP_*"], '
# Of each family: the part that is counted, the counts, and each way's recipe and changes.
FAMILIES = {
    "network": ("", [20, 100, 367], {
        "fine-tuned": ("camvid-labels", []),
        "one rate": ("camvid-labels", ["model.encoder_rate=1.0", "train.learning_rate=1e-3"]),
        "layer decay": ("camvid-labels", ["model.encoder_rate=0.3", "model.layer_decay=0.75"]),
        "unfrozen in turn": (
            "camvid-labels", ["model.freeze={ encoder_until = 60, stage_every = 20 }", "model.encoder_rate=0.1"],
        ),
        "frozen": ("camvid-labels", ["model.freeze=encoder", "model.encoder_rate=1.0"]),
        "LoRA": ("camvid-labels", ["model.lora={ rank = 8 }", "model.encoder_rate=1.0"]),
        "from scratch": (
            "camvid-labels", ["model.weights=none", "model.encoder_rate=1.0", "train.learning_rate=1e-3"],
        ),
    }),
    "place": (DAY, [20, 100, 305], {
        "source alone": ("camvid-dusk-source", []),
        "CORAL": ("camvid-dusk-coral", []),
        "MMD": ("camvid-dusk-mmd", []),
        "density ratio": ("camvid-dusk-density-ratio", []),
        "TrAdaBoost, 5 labels at dusk": ("camvid-dusk-tradaboost", []),
    }),
}


def trained(family: str, way: str, count: int, options: argparse.Namespace) -> tuple[pathlib.Path, list[str]]:
    """The run, which is trained if it is not there, and what it was told."""
    part, _, ways = FAMILIES[family]
    recipe, own = ways[way]
    words = "".join(letter if letter.isalnum() else " " for letter in way.lower()).split()
    run = options.out / "-".join([family, *words, str(count)])
    changes = [f'data.train={{ list = "train", {part}count = {count}, seed = {options.seed} }}']
    changes += [f"train.steps={options.steps}", f"train.validate_every={options.every}", f"train.seed={options.seed}"]
    changes += ["train.schedule.warmup=20", *own]
    told = [str(RECIPES / f"{recipe}.toml"), *(word for change in changes for word in ("--set", change))]
    subprocess.run([KSHOT, "train", *told, "--out", run, "--quiet"], check=True)
    return run, told


def measured(family: str, way: str, count: int, options: argparse.Namespace) -> float:
    """Mean IoU: of the best validation, or on the other place."""
    run, told = trained(family, way, count, options)
    if family == "network":
        lines = (run / "metrics.jsonl").read_text().splitlines()
        return max(json.loads(line)["validation"]["mean_iou"] for line in lines)
    file = run / "test.json"
    if not file.exists():
        subprocess.run([KSHOT, "eval", *told, "--model", run, "--quiet", "--json", file], check=True)
    return json.loads(file.read_text())["metrics"]["mean_iou"]["mean"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--ways", nargs="+", help="all by default")
    parser.add_argument("--counts", type=int, nargs="+", help="all by default")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--every", type=int, default=150, help="steps between validations")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", type=pathlib.Path, help="a PNG; by default curves.png in --out")
    options = parser.parse_args()
    tables = {}
    for family in options.families:
        _, all_counts, ways = FAMILIES[family]
        counts = [count for count in all_counts if options.counts is None or count in options.counts]
        table = {way: [] for way in ways if options.ways is None or way in options.ways}
        for count in counts:
            for way, values in table.items():
                values.append(measured(family, way, count, options))
                print(f"{family}: {way}, {count} frames: {100 * values[-1]:.1f}", flush=True)
        tables[family] = (counts, table)
    for family, (counts, table) in tables.items():
        print(f"\n| {family} | " + " | ".join(f"{count} frames" for count in counts) + " |")
        print("|---" * (1 + len(counts)) + "|")
        for way, values in table.items():
            print(f"| {way} | " + " | ".join(f"{100 * value:.1f}" for value in values) + " |")
    draw(tables, options.picture or options.out / "curves.png")


def draw(tables: dict, path: pathlib.Path) -> None:
    """Curves over the number of frames, which is drawn by its logarithm: a panel for each family."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    titles = {"network": "what of the network learns", "place": "labels by day, pictures at dusk"}
    figure, panels = pyplot.subplots(1, len(tables), figsize=(6 * len(tables), 4.2), dpi=120, squeeze=False)
    for axes, (family, (counts, table)) in zip(panels[0], tables.items()):
        for way, values in table.items():
            axes.plot(counts, [100 * value for value in values], marker="o", label=way)
        axes.set_title(titles[family])
        axes.set_xscale("log")
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.set_xlabel("labelled frames")
        axes.set_ylabel("mean IoU, %")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
