"""The table of networks trained on CamVid: each of recipes/camvid's trainings, measured on the 101 validation frames.

    pip install numpy onnx onnxruntime pillow
    cargo build --release
    python crates/kshot/benches/camvid.py --out /tmp/camvid [--recipes unet-lite0 segnet] [--hours 2.5]

A finished run is not trained again, and one that was stopped goes on (--hours: stop after so many; the same command
goes on). Told are validation mIoU with its 95 % confidence interval over the frames, parameters, multiply-accumulates
of a frame of 480 x 360 (convolutions and matrix products of the exported network), frames a second of `kshot segment`
(whole files to whole files; the recipe's mirror image is left out) and minutes trained.
"""

import argparse
import json
import math
import pathlib
import shutil
import subprocess
import tempfile
import time

import numpy as np
import onnx
import onnxruntime

KSHOT = "target/release/kshot"
RECIPES = pathlib.Path("recipes/camvid")
NETWORKS = ["unet-lite0", "deeplab-v3-plus-lite2", "fcn-8s-lite0", "pspnet-lite0", "segnet", "ddrnet-23-slim"]
FRAMES = pathlib.Path("../shared/data/camvid")


def network(run: pathlib.Path) -> tuple[float, float]:
    """Parameters, and multiply-accumulates of a frame, in thousands of millions."""
    with tempfile.TemporaryDirectory() as temporary:
        file = pathlib.Path(temporary) / "network.onnx"
        subprocess.run([KSHOT, "export", run, "--format", "onnx", "--out", file], check=True)
        model = onnx.load(file)
        weights = {one.name: list(one.dims) for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT}
        multiple = {one.key: one.value for one in model.metadata_props}.get("kshot.size_multiple", "1")
        sides = [math.ceil(side / int(multiple)) * int(multiple) for side in (360, 480)]
        known = {one.name for one in model.graph.output}
        made = [name for node in model.graph.node for name in node.output if name and name not in known]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
        onnx.save(model, file)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0]
        shape = [1, 3, *sides]
        names = [one.name for one in session.get_outputs()]
        shapes = {name: list(np.shape(value)) for name, value in zip(names, session.run(None, {given.name: np.zeros(shape, np.float32)}))}
    shapes |= weights | {given.name: shape}
    total = 0
    for node in model.graph.node:
        inside, outside = [shapes.get(name) for name in node.input], shapes[node.output[0]]
        if node.op_type == "Conv":
            total += math.prod(outside) * math.prod(inside[1][1:])
        elif node.op_type == "ConvTranspose":
            total += math.prod(inside[0]) * math.prod(inside[1][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            total += math.prod(outside) * inside[0][-1]
    return sum(math.prod(dims) for dims in weights.values()), total / 1e9


def frames_a_second(run: pathlib.Path) -> float:
    """Of `kshot segment`: the 101 validation frames."""
    with tempfile.TemporaryDirectory() as temporary:
        query = pathlib.Path(temporary) / "query"
        query.mkdir()
        frames = [FRAMES / line.split()[0] for line in (FRAMES / "val.txt").read_text().splitlines()]
        for frame in frames:
            (query / frame.name).symlink_to(frame.resolve())
        copy = pathlib.Path(temporary) / "run"
        shutil.copytree(run, copy, ignore=shutil.ignore_patterns("checkpoint", "previews"))
        recipe = copy / "recipe.toml"
        recipe.write_text(recipe.read_text().replace('flip = "horizontal"', 'flip = "none"'))
        words = [KSHOT, "segment", "--model", copy, "--query", query, "--out", pathlib.Path(temporary) / "out", "--quiet"]
        started = time.time()
        subprocess.run(words, check=True)
        return len(frames) / (time.time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--recipes", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--hours", type=float, default=math.inf)
    options = parser.parse_args()
    until = time.time() + 3600 * options.hours
    rows = []
    for name in options.recipes:
        recipe, run = RECIPES / f"{name}.toml", options.out / name
        left = until - time.time()
        if left <= 0:
            break
        training = subprocess.Popen([KSHOT, "train", recipe, "--out", run, "--plain"])
        try:
            training.wait(None if math.isinf(left) else left)
        except subprocess.TimeoutExpired:
            training.send_signal(2)
            training.wait()
            break
        file = options.out / f"{name}.json"
        subprocess.run([KSHOT, "eval", recipe, "--model", run, "--quiet", "--json", file], check=True)
        result = json.loads(file.read_text())
        seconds = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["seconds"]
        parameters, work = network(run)
        rows.append([name, told(result), f"{parameters / 1e6:.1f} M", f"{work:.1f}", f"{frames_a_second(run):.1f}", f"{seconds / 60:.0f}"])
        print(rows[-1], flush=True)
    print("| network | val mIoU | parameters | GMACs | frames/s | minutes |\n|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def told(result: dict) -> str:
    """The mean IoU with its interval."""
    low, high = (100 * result["over_pictures"][end] for end in ("low", "high"))
    return f"{100 * result['metrics']['mean_iou']['mean']:.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
