"""The work of layers.rs in PyTorch, same names: `python layers.py [threads] [pattern]`.

Run it with a heap that keeps its pages, as the Rust side has one:
GLIBC_TUNABLES=glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967295
"""

import re
import sys
import time

import torch
from torch.nn import functional

threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
part = sys.argv[2] if len(sys.argv) > 2 else ""
torch.set_num_threads(threads)

# Batch, channels in, out, kernel, stride, dilation, groups, side, padding.
LAYERS = {
    "3x3 1x64x224": (1, 64, 64, 3, 1, 1, 1, 224, 1),
    "3x3 1x256x56": (1, 256, 256, 3, 1, 1, 1, 56, 1),
    "3x3 1x512x28": (1, 512, 512, 3, 1, 1, 1, 28, 1),
    "3x3 dilation 2 1x512x53": (1, 512, 512, 3, 1, 2, 1, 53, 2),
    "3x3 25x64x14": (25, 64, 64, 3, 1, 1, 1, 14, 1),
    "3x3 100x64x14": (100, 64, 64, 3, 1, 1, 1, 14, 1),
    "3x3 100x64x7": (100, 64, 64, 3, 1, 1, 1, 7, 1),
    "3x3 100x64x3": (100, 64, 64, 3, 1, 1, 1, 3, 1),
    "3x3 100x1->64x28": (100, 1, 64, 3, 1, 1, 1, 28, 1),
    "3x3 stride 2 4x64->128x56": (4, 64, 128, 3, 2, 1, 1, 56, 1),
    "1x1 4x256->64x56": (4, 256, 64, 1, 1, 1, 1, 56, 0),
    "1x1 8x112->672x14": (8, 112, 672, 1, 1, 1, 1, 14, 0),
    "1x1 8x384->1536x14": (8, 384, 1536, 1, 1, 1, 1, 14, 0),
    "7x7 stride 2 4x3->64x224": (4, 3, 64, 7, 2, 1, 1, 224, 3),
    "3x3 stride 2 4x3->32x224": (4, 3, 32, 3, 2, 1, 1, 224, 1),
    "depthwise 3x3 1x144x56": (1, 144, 144, 3, 1, 1, 144, 56, 1),
    "depthwise 3x3 stride 2 4x96x112": (4, 96, 96, 3, 2, 1, 96, 112, 1),
    "depthwise 5x5 4x144x28": (4, 144, 144, 5, 1, 1, 144, 28, 2),
    "depthwise 5x5 8x672x14": (8, 672, 672, 5, 1, 1, 672, 14, 2),
}


def median(work):
    """Milliseconds: of the clock, and of the processor over all threads."""
    for _ in range(3):
        work()
    walls, cpus = [], []
    begin = time.perf_counter()
    while len(walls) < 7 or (time.perf_counter() - begin < 0.4 and len(walls) < 100):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append((time.perf_counter() - wall) * 1e3)
        cpus.append((time.process_time() - cpu) * 1e3)
    return sorted(walls)[len(walls) // 2], sorted(cpus)[len(cpus) // 2]


def report(group, name, work):
    if re.search(part, f"{group}::{name}"):
        wall, cpu = median(work)
        print(f"{group}\t{name}\t{wall:.3f}\t{cpu:.3f}", flush=True)


def layer(name):
    batch, inputs, outputs, kernel, stride, dilation, groups, side, pad = LAYERS[name]
    images = torch.randn(batch, inputs, side, side)
    weight = torch.randn(outputs, inputs // groups, kernel, kernel)

    def conv(images, weight):
        return functional.conv2d(images, weight, None, stride, pad, dilation, groups)

    def forward():
        with torch.no_grad():
            conv(images, weight)

    report("forward", name, forward)
    leaves = [weight.clone().requires_grad_()]
    first = images
    if inputs > 3:
        first = images.clone().requires_grad_()
        leaves.append(first)
    gradient = torch.ones_like(conv(images, weight))
    report(
        "forward_and_backward",
        name,
        lambda: torch.autograd.grad(conv(first, leaves[0]), leaves, gradient),
    )


def conv4(batch):
    layers = []
    for index in range(4):
        layers += [
            torch.nn.Conv2d(1 if index == 0 else 64, 64, 3, padding=1),
            torch.nn.BatchNorm2d(64),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
        ]
    network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(64, 5, bias=False))
    images, labels = torch.randn(batch, 1, 28, 28), torch.arange(batch) % 5
    leaves = list(network.parameters())

    def step():
        torch.autograd.grad(functional.cross_entropy(network(images), labels), leaves)

    report("conv4_step", str(batch), step)


for name in LAYERS:
    layer(name)
for batch in (25, 100):
    conv4(batch)
