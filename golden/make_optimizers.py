"""Golden values of optimisers and schedules from PyTorch, written to optimizers.json.

    pip install torch
    python golden/make_optimizers.py

Five parameters after each of five steps on given gradients, in 64 bits; and the learning rates of 40
steps by torch.optim.lr_scheduler.
"""

import json
from pathlib import Path

import torch
from torch.optim import lr_scheduler as schedulers

torch.manual_seed(2)
start = torch.randn(5, dtype=torch.float64)
gradients = torch.randn(5, 5, dtype=torch.float64)
OPTIMIZERS = {
    "'sgd'": lambda p: torch.optim.SGD(p, lr=0.1),
    "{ name = 'sgd', momentum = 0.9, weight_decay = 5e-4 }": lambda p: torch.optim.SGD(
        p, lr=0.1, momentum=0.9, weight_decay=5e-4
    ),
    "{ name = 'sgd', momentum = 0.8, nesterov = true }": lambda p: torch.optim.SGD(
        p, lr=0.1, momentum=0.8, nesterov=True
    ),
    "'adam'": lambda p: torch.optim.Adam(p, lr=0.1),
    "{ name = 'adam', beta1 = 0.5, beta2 = 0.9, epsilon = 1e-3, weight_decay = 0.1 }": lambda p: torch.optim.Adam(
        p, lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1
    ),
    "'adamw'": lambda p: torch.optim.AdamW(p, lr=0.1),
    "{ name = 'adamw', weight_decay = 0.3 }": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.3),
}
STEPS, BASE = 40, 0.2
SCHEDULES = {
    "'constant'": lambda o: schedulers.ConstantLR(o, 1.0),
    "{ name = 'step', every = 7, gamma = 0.5 }": lambda o: schedulers.StepLR(o, 7, 0.5),
    "'poly'": lambda o: schedulers.PolynomialLR(o, STEPS, 0.9),
    "{ name = 'poly', power = 2.0 }": lambda o: schedulers.PolynomialLR(o, STEPS, 2.0),
    "'cosine'": lambda o: schedulers.CosineAnnealingLR(o, STEPS),
    "{ name = 'cosine', minimum = 0.1 }": lambda o: schedulers.CosineAnnealingLR(o, STEPS, 0.1 * BASE),
    "'linear'": lambda o: schedulers.LinearLR(o, 1.0, 0.0, STEPS),
    "{ name = 'linear', minimum = 1e-6 }": lambda o: schedulers.LinearLR(o, 1.0, 1e-6, STEPS),
    "{ name = 'poly', warmup = 5 }": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.2, 1.0, 4), schedulers.PolynomialLR(o, STEPS - 5, 0.9)], [5]
    ),
    "{ name = 'constant', warmup = 8 }": lambda o: schedulers.LambdaLR(o, lambda s: min(1.0, (s + 1) / 8)),
}


def parameters(make):
    parameter = start.clone().requires_grad_()
    optimizer = make([parameter])
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        yield parameter.tolist()


def rates(make):
    optimizer = torch.optim.SGD([start.clone().requires_grad_()], lr=BASE)
    schedule = make(optimizer)
    for _ in range(STEPS):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        schedule.step()


result = {
    "start": start.tolist(),
    "gradients": gradients.tolist(),
    "optimizers": {name: list(parameters(make)) for name, make in OPTIMIZERS.items()},
    "base": BASE,
    "schedules": {name: list(rates(make)) for name, make in SCHEDULES.items()},
}
(Path(__file__).parent / "optimizers.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
