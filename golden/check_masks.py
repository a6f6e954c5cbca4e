"""Runs a trained network in onnxruntime by nothing but the file that `kshot export` wrote, and compares its masks with those
of `kshot segment --model`.

    pip install onnxruntime numpy pillow
    python golden/check_masks.py RUN PICTURES

RUN is a run of supervised segmentation whose recipe sees no mirror images; pictures of at most 768 pixels a side and not
above the file's kshot.longest_side are compared. Ends with 1 if more than one pixel of ten thousand differs.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime
from PIL import Image

KSHOT = "target/release/kshot"
TILE = 768


def mask(session: onnxruntime.InferenceSession, picture: np.ndarray) -> np.ndarray:
    """As the metadata say: normalised, mirrored to sides that `size_multiple` divides, cut again."""
    about = session.get_modelmeta().custom_metadata_map
    assert about["kshot.channels"] == "RGB"
    mean, std = (np.array(json.loads(about[f"kshot.{name}"]), np.float32) for name in ("mean", "std"))
    multiple = int(about["kshot.size_multiple"])
    height, width = picture.shape[:2]
    beyond = [(0, -side % multiple) for side in (height, width)]
    values = (picture.astype(np.float32) - mean) / std
    values = np.pad(values, [*beyond, (0, 0)], mode="reflect").transpose(2, 0, 1)[None]
    found = session.run(["mask"], {"pictures": np.ascontiguousarray(values)})[0]
    return found[0, :height, :width]


def main(run: str, pictures: str) -> int:
    wrong = total = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        subprocess.run([KSHOT, "export", run, "--out", folder / "model.onnx"], check=True)
        subprocess.run([KSHOT, "segment", "--model", run, "--query", pictures, "--out", folder / "out", "--quiet"], check=True)
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        longest = session.get_modelmeta().custom_metadata_map.get("kshot.longest_side") or TILE
        for file in sorted((folder / "out" / "masks").glob("*.png")):
            source = next(pathlib.Path(pictures).glob(f"{file.stem}.*"))
            picture = np.asarray(Image.open(source).convert("RGB"))
            if max(picture.shape[:2]) > min(int(longest), TILE):
                continue
            apart = mask(session, picture) != np.asarray(Image.open(file))
            wrong, total = wrong + int(apart.sum()), total + apart.size
    print(f"{wrong} of {total} pixels differ")
    return 0 if 0 < total and wrong <= total / 10_000 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
