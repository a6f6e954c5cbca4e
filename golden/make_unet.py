"""Golden values of U-Net's decoder from PyTorch, written to unet.safetensors.

    pip install torch safetensors
    python golden/make_unet.py

Random maps of an encoder with strides 2, 4 and 8 for a picture of 21x18 pixels, whose sides are no multiple
of them; the decoder of arXiv 1505.04597 with padded convolutions and batch normalisation. Logits are taken
by running statistics (evaluation) and by the batch's (training); gradients are those of a weighted sum of
the latter.
"""

from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(5)
CHANNELS, WIDTH, CLASSES, SIZE = (3, 4, 5), 4, 3, (21, 18)


class Layer(nn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outside)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        nn.init.uniform_(self.norm.bias, -0.5, 0.5)
        nn.init.uniform_(self.norm.running_mean, -0.2, 0.2)
        nn.init.uniform_(self.norm.running_var, 0.5, 1.5)

    def forward(self, images):
        return F.relu(self.norm(self.conv(images)))


class Level(nn.Module):
    def __init__(self, below, beside, width):
        super().__init__()
        self.up = nn.ConvTranspose2d(below, width, 2, stride=2)
        self.first, self.second = Layer(beside + width, width), Layer(width, width)

    def forward(self, below, beside):
        up = self.up(below)[:, :, : beside.shape[2], : beside.shape[3]]
        return self.second(self.first(torch.cat([beside, up], 1)))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.levels = nn.ModuleList(
            [Level(2 * WIDTH, CHANNELS[0], WIDTH), Level(CHANNELS[2], CHANNELS[1], 2 * WIDTH)]
        )
        self.head = nn.Conv2d(WIDTH, CLASSES, 1)

    def forward(self, maps):
        below = self.levels[0](self.levels[1](maps[2], maps[1]), maps[0])
        return F.interpolate(self.head(below), SIZE, mode="bilinear", align_corners=False)


network = UNet().eval()
state = {name: value.clone() for name, value in network.state_dict().items() if "num_batches" not in name}
sizes = [[-(-side // stride) for side in SIZE] for stride in (2, 4, 8)]
maps = [torch.randn(2, count, *size, requires_grad=True) for count, size in zip(CHANNELS, sizes)]
results = {"evaluated": network(maps).detach()}
trained = network.train()(maps)
results["trained"] = trained.detach()
(trained * torch.arange(trained.numel()).float().sin().reshape(trained.shape)).sum().backward()
for index, tensor in enumerate(maps):
    results[f"map{index}"] = tensor.detach()
    results[f"map{index}_gradient"] = tensor.grad
results["up_gradient"] = network.levels[1].up.weight.grad
weights = {f"weights.{name}": value for name, value in state.items()}
save_file(
    {name: value.contiguous() for name, value in {**results, **weights}.items()},
    Path(__file__).parent / "unet.safetensors",
)
