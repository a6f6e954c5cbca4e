"""The work of pipeline.rs with torchvision, same names: `python pipeline.py [workers] [folder of CamVid]`.

    pip install torch torchvision

Frames are drawn in an order of the seed, changed by torchvision's v2 transforms and collected by a DataLoader whose
workers have one thread each. Times are milliseconds a batch over 60 batches after 10 that do not count; `kept` has all
frames decoded in memory, which the workers share.
"""

import os
import sys
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

BATCH, COUNTED, BEFORE = 8, 60, 10
workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
beside = Path(os.environ.get("KSHOT_DATA", Path(__file__).parents[3] / ".." / "shared" / "data")) / "camvid"
root = Path(sys.argv[2]) if len(sys.argv) > 2 else beside

TRANSFORMS = v2.Compose(
    [
        v2.RandomHorizontalFlip(),
        v2.ScaleJitter(target_size=(360, 480), scale_range=(0.75, 1.5), antialias=True),
        v2.RandomCrop(256, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: 255}),
        v2.ColorJitter(0.3, 0.3, 0.3, 10 / 360),
        v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)


def read(files):
    picture, mask = files
    return (
        tv_tensors.Image(decode_image(str(root / picture), ImageReadMode.RGB)),
        tv_tensors.Mask(decode_image(str(root / mask), ImageReadMode.UNCHANGED)[0]),
    )


class Frames(Dataset):
    def __init__(self, kept, change):
        lines = (root / "train.txt").read_text().split("\n")
        self.files = [line.split() for line in lines if line.strip()]
        self.frames = [read(files) for files in self.files] if kept else None
        self.change = change

    def __len__(self):
        # Endless, so that workers are not started anew.
        return 1 << 20

    def __getitem__(self, place):
        index = place % len(self.files)
        picture, mask = self.frames[index] if self.frames else read(self.files[index])
        return TRANSFORMS(picture, mask) if self.change else (picture, mask)


def measure(name, kept, change):
    torch.manual_seed(1)
    frames = Frames(kept, change)
    order = torch.randperm(len(frames)).tolist()
    loader = DataLoader(
        frames,
        BATCH,
        sampler=order,
        num_workers=workers,
        collate_fn=None if change else list,
        worker_init_fn=lambda _: torch.set_num_threads(1),
    )
    batches = iter(loader)
    for _ in range(BEFORE):
        next(batches)
    started = time.perf_counter()
    for _ in range(COUNTED):
        batch = next(batches)
    took = (time.perf_counter() - started) * 1e3 / COUNTED
    if change:
        assert batch[0].shape == (BATCH, 3, 256, 256), batch[0].shape
    print(f"{name}\t{took:.1f}", flush=True)


def main():
    if not root.is_dir():
        print(f"skipped: CamVid is not in {root}")
        return
    measure("files", False, False)
    measure("decoded", False, True)
    measure("kept", True, True)


if __name__ == "__main__":
    main()
