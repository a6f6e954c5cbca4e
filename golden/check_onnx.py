"""Runs every network that crates/kshot/tests/export.rs writes in onnxruntime and compares its logits with ours.

    pip install onnx onnxruntime numpy
    KSHOT_ONNX_OUT=/tmp/onnx cargo test --release -p kshot --test export
    python golden/check_onnx.py /tmp/onnx

Prints the largest difference over the largest logit, by network; ends with 1 if one is above 1e-4 or a mask differs
where the two highest logits are not within that of each other.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime


def read(path: pathlib.Path) -> np.ndarray:
    shape = [int(side) for side in path.stem.rsplit("-", 1)[1].split("x")]
    return np.fromfile(path, dtype="<f4").reshape(shape)


def main(folder: pathlib.Path) -> int:
    worst_of_all, failed = 0.0, 0
    for model in sorted(folder.glob("*/model.onnx")):
        name = model.parent.name
        onnx.checker.check_model(str(model), full_check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        worst, wrong = 0.0, 0
        for pictures in sorted(model.parent.glob("pictures-*.f32")):
            index = pictures.name.split("-")[1]
            expected = read(next(model.parent.glob(f"logits-{index}-*.f32")))
            logits, mask = session.run(None, {"pictures": read(pictures)})
            scale = max(np.abs(expected).max(), 1e-6)
            worst = max(worst, float(np.abs(logits - expected).max() / scale))
            top = np.sort(expected, axis=1)
            sure = top[:, -1] - top[:, -2] > 2e-4 * scale
            wrong += int(((mask != expected.argmax(axis=1)) & sure).sum())
        bad = worst > 1e-4 or wrong > 0
        failed += bad
        worst_of_all = max(worst_of_all, worst)
        print(f"{'BAD ' if bad else ''}{name}: {worst:.1e}, {wrong} sure pixels differ")
    print(f"largest difference {worst_of_all:.1e}; {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
