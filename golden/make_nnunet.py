"""Golden values of nnU-Net's plain U-Net from the authors' package, written to nnunet.json.

    pip install torch dynamic-network-architectures   (and what make_encoders.py needs)
    python golden/make_nnunet.py

Weights and pictures are computed from names and indices by `numbers` of make_encoders.py, which
crates/kshot/tests/golden/nnunet.rs repeats. Of a small network: the encoder's maps, the logits of all levels (deep
supervision), and gradients of a weighted sum of the logits. Of the network for patches of 256 pixels: the names and shapes
of all tensors.
"""

import json
import pathlib

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from make_encoders import computed, numbers, sample

HERE = pathlib.Path(__file__).resolve().parent
CLASSES = 3


def network(stages: int, width: int, most: int) -> PlainConvUNet:
    """As nnU-Net plans it: convolutions with bias, instance normalisation, leaky ReLU."""
    features = [min(width << stage, most) for stage in range(stages)]
    return PlainConvUNet(
        input_channels=3,
        n_stages=stages,
        features_per_stage=features,
        conv_op=nn.Conv2d,
        kernel_sizes=[3] * stages,
        strides=[1] + [2] * (stages - 1),
        n_conv_per_stage=[2] * stages,
        num_classes=CLASSES,
        n_conv_per_stage_decoder=[2] * (stages - 1),
        conv_bias=True,
        norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )


def tensors(model: nn.Module) -> dict:
    """Each tensor once: layers are listed twice, and the decoder lists the encoder again."""
    return {
        name: value
        for name, value in model.state_dict().items()
        if "all_modules" not in name and not name.startswith("decoder.encoder.")
    }


def main() -> None:
    torch.set_num_threads(1)
    model = network(4, 8, 32)
    state = {name: computed(name, value) for name, value in tensors(model).items()}
    model.load_state_dict(state, strict=False)
    shape = [2, 3, 32, 48]
    image = numbers("input", int(np.prod(shape))).reshape(shape).requires_grad_(True)
    skips = model.encoder(image)
    outputs = model.decoder(skips)
    # The coarsest level's logits count nothing in training.
    loss = sum(
        (logits * numbers(f"factors{level}", logits.numel()).reshape(logits.shape)).sum()
        for level, logits in enumerate(outputs[:-1])
    )
    loss.backward()
    parameters = dict(model.named_parameters())
    gradients = {"input": sample(image.grad, 64, 7)}
    for name in ["encoder.stages.1.0.convs.0.conv.weight", "decoder.transpconvs.0.weight"]:
        gradients[name] = sample(parameters[name].grad, 64, 7)
    seven = network(7, 32, 512)
    result = {
        "input": shape,
        "classes": CLASSES,
        "tensors": {name: list(value.shape) for name, value in state.items()},
        "maps": [sample(skip.detach(), 64, 7) for skip in skips],
        "logits": [sample(logits.detach(), 64, 7) for logits in outputs],
        "gradients": gradients,
        "plain-unet": {name: list(value.shape) for name, value in tensors(seven).items()},
        "plain-unet parameters": sum(value.numel() for value in seven.parameters()),
    }
    (HERE / "nnunet.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
