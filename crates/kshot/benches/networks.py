"""The work of networks.rs in PyTorch, same names: `python networks.py [threads] [pattern]`.

    pip install torch torchvision timm efficientnet-lite-pytorch segmentation-models-pytorch opencv-python-headless
    pip install --no-deps mmsegmentation==1.2.2 mmcv-lite==2.1.0 mmengine addict yapf termcolor rich \\
        platformdirs ftfy regex prettytable wcwidth

Run it with a heap that keeps its pages, as the Rust side has one:
GLIBC_TUNABLES=glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967295
Encoders normalise by running statistics in training too, as there. Times are medians in milliseconds after
three runs that do not count; the last column is the process's peak memory so far in MB.
"""

import re
import resource
import sys
import time
from unittest.mock import MagicMock

import timm
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from efficientnet_lite_pytorch import EfficientNet

threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
part = sys.argv[2] if len(sys.argv) > 2 else ""
torch.set_num_threads(threads)


class Lite0(nn.Module):
    ends = (0, 2, 4, 7, 10, 14, 15)

    def __init__(self):
        super().__init__()
        self.net = EfficientNet.from_name("efficientnet-lite0")
        self.eval()

    def forward(self, images):
        maps = []
        images = self.net._swish(self.net._bn0(self.net._conv_stem(images)))
        for index, block in enumerate(self.net._blocks):
            images = block(images)
            if index in self.ends:
                maps.append(images)
        return maps


class Encoder(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body.eval()

    def forward(self, images):
        result = self.body(images)
        return result[-1] if isinstance(result, list) else result


def resnet50():
    return nn.Sequential(*list(torchvision.models.resnet50().children())[:-2])


def mobilenet_v2():
    return Encoder(torchvision.models.mobilenet_v2().features[:-1])


def hrnet_w18():
    return Encoder(timm.create_model("hrnet_w18", features_only=True, feature_location=""))


def vgg16_panet():
    layers, inside = [], 3
    for block, (depth, width) in enumerate(zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512))):
        if block:
            layers.append(nn.MaxPool2d(3, 1 if block == 4 else 2, 1))
        dilation = 2 if block == 4 else 1
        for _ in range(depth):
            layers += [nn.Conv2d(inside, width, 3, 1, dilation, dilation), nn.ReLU(inplace=True)]
            inside = width
    return nn.Sequential(*layers[:-1])


class Vit(nn.Module):
    """The patches after the last block and the final normalisation, as networks.rs takes them."""

    def __init__(self):
        super().__init__()
        self.net = timm.create_model("vit_small_patch16_224", num_classes=0)

    def forward(self, images):
        return self.net.forward_features(images)[:, 1:]


def layer(inside, outside):
    conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


class UNet(nn.Module):
    """Width 32, 21 classes, on the last map of each size."""

    picks, channels = (0, 1, 2, 4, 6), (16, 24, 40, 112, 320)

    def __init__(self):
        super().__init__()
        self.encoder = Lite0()
        widths = [32, 64, 128, 256]
        belows = [64, 128, 256, 320]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(b, w, 2, 2) for b, w in zip(belows, widths))
        self.convs = nn.ModuleList(
            nn.Sequential(layer(c + w, w), layer(w, w)) for c, w in zip(self.channels, widths)
        )
        self.head = nn.Conv2d(32, 21, 1)

    def forward(self, images):
        maps = self.encoder(images)
        maps = [maps[pick] for pick in self.picks]
        below = maps[-1]
        for level in (3, 2, 1, 0):
            up = self.ups[level](below)[:, :, : maps[level].shape[2], : maps[level].shape[3]]
            below = self.convs[level](torch.cat([maps[level], up], 1))
        return F.interpolate(self.head(below), images.shape[2:], mode="bilinear", align_corners=False)

    def train(self, mode=True):
        super().train(mode)
        self.encoder.eval()
        return self


class Segmenter(nn.Module):
    """Any segmenter whose encoder normalises by running statistics in training too."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, images):
        return self.decoder(self.encoder(images), images.shape[2:])

    def train(self, mode=True):
        super().train(mode)
        self.encoder.eval()
        return self


def deeplab_v3_plus():
    import segmentation_models_pytorch as smp

    whole = smp.DeepLabV3Plus("resnet50", encoder_weights=None, classes=21)
    return Segmenter(whole.encoder, Headed(whole.decoder, whole.segmentation_head))


class Headed(nn.Module):
    def __init__(self, decoder, head):
        super().__init__()
        self.decoder, self.head = decoder, head

    def forward(self, maps, _size):
        return self.head(self.decoder(maps))

    def train(self, mode=True):
        # By running statistics: PyTorch refuses a batch's own of a single place, which pooled maps of one picture have.
        return super().train(False)


class Vgg16(nn.Module):
    """The maps before its pools."""

    def __init__(self):
        super().__init__()
        self.layers = torchvision.models.vgg16_bn().features

    def forward(self, images):
        maps = []
        for layer in self.layers:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(images)
            images = layer(images)
        return maps


class SegNet(nn.Module):
    """From arXiv 1511.00561, as golden/make_decoders.py has it: pools of its own, whose places it keeps."""

    def __init__(self, channels=(64, 128, 256, 512, 512), counts=(3, 3, 3, 2, 2)):
        super().__init__()
        self.stages = nn.ModuleList()
        for level, count in zip(reversed(range(5)), counts):
            width = channels[level]
            outs = [width] * (count - 1) + ([channels[level - 1]] if level else [])
            self.stages.append(nn.Sequential(*(layer(width, out) for out in outs)))
        self.head = nn.Conv2d(channels[0], 21, 3, padding=1)

    def forward(self, maps, size):
        pools = [F.max_pool2d(m, 2, ceil_mode=True, return_indices=True) for m in maps]
        image = pools[-1][0]
        for level, stage in zip((4, 3, 2, 1, 0), self.stages):
            image = stage(F.max_unpool2d(image, pools[level][1], 2, output_size=maps[level].shape[2:]))
        return F.interpolate(self.head(image), size, mode="bilinear", align_corners=False)


class DdrNet(nn.Module):
    """mmsegmentation's, whose pyramid (`spp`) is the decoder's."""

    def __init__(self):
        super().__init__()
        sys.modules.setdefault("mmcv._ext", MagicMock())
        from mmseg.models.backbones.ddrnet import DDRNet
        from mmseg.models.decode_heads.ddr_head import DDRHead

        norm = {"type": "BN"}
        self.body = DDRNet(channels=32, norm_cfg=norm)
        self.head = DDRHead(in_channels=128, channels=64, num_classes=21, norm_cfg=norm)

    def forward(self, images):
        logits = self.head.cls_seg(self.head.head(self.body(images)))
        return F.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)

    def train(self, mode=True):
        super().train(mode)
        # All of it by running statistics: PyTorch refuses a batch's own of a single place, which DAPPM has of one picture.
        self.body.eval()
        return self


class Conv4(nn.Module):
    def __init__(self):
        super().__init__()
        blocks = [nn.Sequential(layer(i, 64), nn.MaxPool2d(2)) for i in (1, 64, 64, 64)]
        self.body = nn.Sequential(*blocks, nn.Flatten())

    def forward(self, images):
        return self.body(images)


ROWS = {
    "efficientnet-lite0 1x224x224": (lambda: Encoder(Lite0()), (1, 3, 224, 224)),
    "efficientnet-lite0 8x224x224": (lambda: Encoder(Lite0()), (8, 3, 224, 224)),
    "efficientnet-lite0 1x360x480": (lambda: Encoder(Lite0()), (1, 3, 360, 480)),
    "efficientnet-lite0 8x360x480": (lambda: Encoder(Lite0()), (8, 3, 360, 480)),
    "resnet50 1x224x224": (lambda: Encoder(resnet50()), (1, 3, 224, 224)),
    "resnet50 8x224x224": (lambda: Encoder(resnet50()), (8, 3, 224, 224)),
    "vgg16-panet 1x417x417": (lambda: Encoder(vgg16_panet()), (1, 3, 417, 417)),
    "vgg16-panet 8x417x417": (lambda: Encoder(vgg16_panet()), (8, 3, 417, 417)),
    "mobilenet-v2 1x224x224": (mobilenet_v2, (1, 3, 224, 224)),
    "mobilenet-v2 8x224x224": (mobilenet_v2, (8, 3, 224, 224)),
    "hrnet-w18 1x224x224": (hrnet_w18, (1, 3, 224, 224)),
    "hrnet-w18 8x224x224": (hrnet_w18, (8, 3, 224, 224)),
    "vit-small-16 1x224x224": (lambda: Encoder(Vit()), (1, 3, 224, 224)),
    "vit-small-16 8x224x224": (lambda: Encoder(Vit()), (8, 3, 224, 224)),
    "unet 1x224x224": (UNet, (1, 3, 224, 224)),
    "unet 8x224x224": (UNet, (8, 3, 224, 224)),
    "deeplab-v3-plus-resnet50 1x224x224": (deeplab_v3_plus, (1, 3, 224, 224)),
    "deeplab-v3-plus-resnet50 8x224x224": (deeplab_v3_plus, (8, 3, 224, 224)),
    "segnet-vgg16 1x224x224": (lambda: Segmenter(Vgg16(), SegNet()), (1, 3, 224, 224)),
    "segnet-vgg16 8x224x224": (lambda: Segmenter(Vgg16(), SegNet()), (8, 3, 224, 224)),
    "ddrnet-23-slim 1x360x480": (DdrNet, (1, 3, 360, 480)),
    "ddrnet-23-slim 8x360x480": (DdrNet, (8, 3, 360, 480)),
    "conv4 25x28x28": (Conv4, (25, 1, 28, 28)),
}


def median(work):
    for _ in range(3):
        work()
    times, begin = [], time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - begin < 1.0 and len(times) < 100):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1e3)
    return sorted(times)[len(times) // 2]


def main():
    for name, (make, shape) in ROWS.items():
        images = torch.randn(shape)
        for group in ("inference", "training"):
            if not re.search(part, f"{group}::{name}"):
                continue
            model = make()

            def infer():
                with torch.inference_mode():
                    model(images).square().mean().item()

            def train():
                model.zero_grad(set_to_none=True)
                model(images).square().mean().backward()

            if group == "inference":
                model.eval()
            elif not isinstance(model, Encoder):
                model.train()
            value = median(infer if group == "inference" else train)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{group}\t{name}\t{value:.1f}\t{peak:.0f}", flush=True)


if __name__ == "__main__":
    main()
