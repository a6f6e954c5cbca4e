"""The work of gpu.rs in PyTorch, same names, same lines (NAME, seconds of a step, seconds of the first):

    pip install torch timm segmentation-models-pytorch
    python gpu.py [cuda:0]

Networks run as people run them: eager, with TF32 off, so that both sides multiply in 32 bits.
"""

import sys
import time

import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn as nn
import torch.nn.functional as F

device = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cuda:0")
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.benchmark = True
torch.manual_seed(1)
WARM, STEPS = 10, 50


def wait():
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def timed(name, run):
    start = time.perf_counter()
    run()
    wait()
    first = time.perf_counter() - start
    for _ in range(WARM):
        run()
    wait()
    start = time.perf_counter()
    for _ in range(STEPS):
        run()
    wait()
    print(f"{name}\t{(time.perf_counter() - start) / STEPS:.6f}\t{first:.3f}", flush=True)


def block(inside, outside):
    conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


class UNet(nn.Module):
    """Width 32, 21 classes, on the last map of each size of EfficientNet-Lite0."""

    def __init__(self):
        super().__init__()
        self.encoder = timm.create_model("tf_efficientnet_lite0", features_only=True, pretrained=False)
        channels = self.encoder.feature_info.channels()
        widths = [32, 64, 128, 256]
        belows = [64, 128, 256, channels[-1]]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(b, w, 2, 2) for b, w in zip(belows, widths))
        self.convs = nn.ModuleList(
            nn.Sequential(block(c + w, w), block(w, w)) for c, w in zip(channels, widths)
        )
        self.head = nn.Conv2d(32, 21, 1)

    def forward(self, images):
        maps = self.encoder(images)
        below = maps[-1]
        for level in (3, 2, 1, 0):
            up = self.ups[level](below)[:, :, : maps[level].shape[2], : maps[level].shape[3]]
            below = self.convs[level](torch.cat([maps[level], up], 1))
        return F.interpolate(self.head(below), images.shape[2:], mode="bilinear", align_corners=False)


def segmenter(name, network):
    network = network.to(device).eval()
    images = torch.randn(1, 3, 512, 512, device=device)
    with torch.inference_mode():
        timed(f"{name} inference 1x512x512", lambda: network(images).argmax(1))
    network.train()
    batch = torch.randn(8, 3, 512, 512, device=device)
    labels = torch.zeros(8, 512, 512, dtype=torch.long, device=device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(batch), labels).backward()
        optimizer.step()

    timed(f"{name} training 8x512x512", step)


def prototypical():
    blocks = [nn.Sequential(block(inside, 64), nn.MaxPool2d(2)) for inside in (1, 64, 64, 64)]
    network = nn.Sequential(*blocks, nn.Flatten()).to(device).eval()
    images = torch.randn(300, 1, 28, 28, device=device)
    with torch.inference_mode():
        timed("conv4 inference 300x28x28", lambda: network(images))
    network.train()
    both = torch.randn(360, 1, 28, 28, device=device)
    labels = torch.arange(300, device=device) // 5
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad(set_to_none=True)
        vectors = network(both)
        means, queries = vectors[:60], vectors[60:]
        scores = 2 * queries @ means.T - queries.square().sum(1, keepdim=True) - means.square().sum(1)
        F.cross_entropy(scores, labels).backward()
        optimizer.step()

    timed("conv4 prototypical training 60-way", step)


prototypical()
segmenter("unet efficientnet-lite0", UNet())
segmenter(
    "deeplab-v3-plus resnet50",
    smp.DeepLabV3Plus("resnet50", encoder_weights=None, in_channels=3, classes=21),
)
