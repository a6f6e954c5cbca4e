"""Golden values of the losses from PyTorch and segmentation_models_pytorch, written to losses.safetensors.

    pip install torch safetensors segmentation-models-pytorch
    python golden/make_losses.py

Two pictures of 4 classes with void (255) pixels; class 3 occurs in no label. For every row the value
and its gradient with respect to the logits, in 64 bits.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from segmentation_models_pytorch.losses import DiceLoss

torch.manual_seed(5)
logits = 2 * torch.randn(2, 4, 5, 6, dtype=torch.float64)
targets = torch.randint(0, 3, (2, 5, 6))
targets[torch.rand(2, 5, 6) < 0.2] = 255
weights = torch.tensor([0.5, 2.0, 1.25, 3.0], dtype=torch.float64)
ROWS = {
    "cross-entropy": lambda x, y: F.cross_entropy(x, y, ignore_index=255),
    "weights": lambda x, y: F.cross_entropy(x, y, weights, ignore_index=255),
    "smoothing": lambda x, y: F.cross_entropy(x, y, ignore_index=255, label_smoothing=0.1),
    "both": lambda x, y: F.cross_entropy(x, y, weights, ignore_index=255, label_smoothing=0.3),
    "dice": DiceLoss("multiclass", from_logits=True, ignore_index=255),
    "dice-smooth": DiceLoss("multiclass", from_logits=True, smooth=1.0, ignore_index=255),
    # A label of a whole picture is one pixel.
    "pictures": lambda x, y: F.cross_entropy(x[:, :, 0, 0], y[:, 0, 0], label_smoothing=0.1),
}
assert (targets[:, 0, 0] < 4).all()
tensors = {"logits": logits.float(), "targets": targets.float()}
for name, loss in ROWS.items():
    x = logits.float().double().requires_grad_()
    value = loss(x, targets)
    value.backward()
    tensors[f"{name}.value"] = value.detach().reshape(1).float()
    tensors[f"{name}.gradient"] = x.grad.float()
save_file(tensors, Path(__file__).parent / "losses.safetensors")
