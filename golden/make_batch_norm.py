"""Golden values of a trained batch normalisation from PyTorch, written to batch_norm.safetensors.

    pip install torch safetensors
    python golden/make_batch_norm.py

A convolution of stride 2, batch normalisation (momentum 0.1, epsilon 1e-3) and ReLU take ten steps of SGD on
ten batches, the first of which gives the result and all gradients; the loss is a weighted sum. After them the
last batch is evaluated by running statistics.
"""

from pathlib import Path

import torch
import torch.nn as nn
from safetensors.torch import save_file

STEPS, BATCH, CHANNELS, SIZE, RATE = 10, 3, (3, 5), (9, 7), 0.01

torch.manual_seed(11)
network = nn.Sequential(
    nn.Conv2d(*CHANNELS, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(CHANNELS[1], eps=1e-3), nn.ReLU()
)
conv, norm, _ = network
nn.init.uniform_(norm.weight, 0.5, 1.5)
nn.init.uniform_(norm.bias, -0.5, 0.5)
# Means far from 0 and variances far from 1, so that running statistics have somewhere to go.
images = torch.randn(STEPS, BATCH, CHANNELS[0], *SIZE) * 2 + 1
results = {"images": images}
results |= {"weight": conv.weight, "gamma": norm.weight, "beta": norm.bias}
results = {name: value.detach().clone() for name, value in results.items()}
optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
for step in range(STEPS):
    batch = images[step].clone().requires_grad_()
    output = network.train()(batch)
    optimizer.zero_grad()
    (output * torch.arange(output.numel()).float().sin().reshape(output.shape)).sum().backward()
    if step == 0:
        results["first_output"] = output.detach().clone()
        gradients = {"images": batch, "weight": conv.weight, "gamma": norm.weight, "beta": norm.bias}
        results |= {f"{name}_gradient": tensor.grad.clone() for name, tensor in gradients.items()}
    optimizer.step()
results |= {"trained_weight": conv.weight, "trained_gamma": norm.weight, "trained_beta": norm.bias}
results |= {"running_mean": norm.running_mean, "running_var": norm.running_var}
results["evaluated"] = network.eval()(images[-1])
save_file(
    {name: value.detach().contiguous() for name, value in results.items()},
    Path(__file__).parent / "batch_norm.safetensors",
)
