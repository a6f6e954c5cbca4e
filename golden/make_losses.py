"""Golden values of the losses from PyTorch and segmentation_models_pytorch, written to losses.safetensors.

    pip install torch safetensors segmentation-models-pytorch scipy scikit-learn
    python golden/make_losses.py

What segmentation_models_pytorch does not have (focal Tversky, focal loss with class weights, hard pixels, the
boundary loss, class weights) follows the papers' formulas, distances are SciPy's. Two pictures of 4 classes with void (255) pixels; class 3 occurs in no label. For every row the value
and its gradient with respect to the logits, in 64 bits.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scipy.ndimage import distance_transform_edt
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss, JaccardLoss, LovaszLoss, TverskyLoss
from segmentation_models_pytorch.losses._functional import soft_tversky_score, softmax_focal_loss_with_logits
from sklearn.utils.class_weight import compute_class_weight

torch.manual_seed(5)
logits = 2 * torch.randn(2, 4, 5, 6, dtype=torch.float64)
targets = torch.randint(0, 3, (2, 5, 6))
targets[torch.rand(2, 5, 6) < 0.2] = 255
weights = torch.tensor([0.5, 2.0, 1.25, 3.0], dtype=torch.float64)
SMP = {"mode": "multiclass", "from_logits": True, "ignore_index": 255}


def per_picture(loss):
    return lambda x, y: torch.stack([loss(x[i : i + 1], y[i : i + 1]) for i in range(len(x))]).mean()


def in_64_bits(loss):
    """The Lovász loss there turns labels into 32 bits by `.float()`, whatever the logits have."""

    def computed(x, y):
        single = torch.Tensor.float
        torch.Tensor.float = torch.Tensor.double
        try:
            return loss(x, y)
        finally:
            torch.Tensor.float = single

    return computed


def counted(x, y):
    """Logits [pixels, classes] and labels [pixels] without void."""
    x, y = x.movedim(1, -1).reshape(-1, x.shape[1]), y.reshape(-1)
    return x[y != 255], y[y != 255]


def focal(x, y, gamma, weights):
    x, y = counted(x, y)
    log = F.log_softmax(x, 1)[torch.arange(len(y)), y]
    return (weights[y] * (1 - log.exp()) ** gamma * -log).sum() / weights[y].sum()


def focal_tversky(x, y, alpha, beta, gamma):
    x, y = counted(x, y)
    labels = F.one_hot(y, x.shape[1]).double()
    score = soft_tversky_score(x.softmax(1), labels, alpha, beta, dims=(0,))
    return torch.where(labels.sum(0) > 0, (1 - score) ** (1 / gamma), 0.0).mean()


def ohem(x, y, threshold, least, weights=None):
    """As HRNet's OhemCrossEntropy, whose min_kept is a number of pixels."""
    x, y = counted(x, y)
    losses = F.cross_entropy(x, y, weights, reduction="none")
    probability, order = x.softmax(1)[torch.arange(len(y)), y].sort()
    bound = max(probability[min(int(np.ceil(least * len(y))), len(y) - 1)].item(), threshold)
    return losses[order][probability < bound].mean()


def boundary(x, y, unit):
    """The authors' one_hot2dist, with void on neither side, and their SurfaceLoss over labelled pixels."""
    distances, labels = torch.zeros_like(x), torch.zeros_like(x)
    for i in range(len(x)):
        for c in range(x.shape[1]):
            own, other = (y[i] == c).numpy(), ((y[i] != c) & (y[i] != 255)).numpy()
            labels[i, c] = torch.tensor(own)
            if own.any():
                signed = distance_transform_edt(~own) * other - (distance_transform_edt(~other) - 1) * own
                distances[i, c] = torch.tensor(signed)
    # The last term is the paper's constant.
    return ((x.softmax(1) - labels) * distances / unit).sum() / ((y != 255).sum() * x.shape[1])


ROWS = {
    "cross-entropy": lambda x, y: F.cross_entropy(x, y, ignore_index=255),
    "weights": lambda x, y: F.cross_entropy(x, y, weights, ignore_index=255),
    "smoothing": lambda x, y: F.cross_entropy(x, y, ignore_index=255, label_smoothing=0.1),
    "both": lambda x, y: F.cross_entropy(x, y, weights, ignore_index=255, label_smoothing=0.3),
    "dice": DiceLoss(**SMP),
    "dice-smooth": DiceLoss(smooth=1.0, **SMP),
    "dice-picture": per_picture(DiceLoss(**SMP)),
    "jaccard": JaccardLoss(**SMP),
    "jaccard-picture": per_picture(JaccardLoss(smooth=2.0, **SMP)),
    "tversky": TverskyLoss(alpha=0.3, beta=0.7, **SMP),
    "tversky-picture": per_picture(TverskyLoss(alpha=0.8, beta=0.4, smooth=1.0, **SMP)),
    "tversky-focal": lambda x, y: focal_tversky(x, y, 0.3, 0.7, 4 / 3),
    "focal": lambda x, y: softmax_focal_loss_with_logits(*counted(x, y), gamma=2.0),
    "focal-weights": lambda x, y: focal(x, y, 1.5, weights),
    "focal-sigmoid": FocalLoss("multiclass", gamma=2.0, ignore_index=255),
    "focal-sigmoid-weights": FocalLoss("multiclass", gamma=3.0, ignore_index=255, class_weights=weights.tolist()),
    "lovasz": in_64_bits(LovaszLoss(**SMP)),
    "lovasz-picture": in_64_bits(LovaszLoss(per_image=True, **SMP)),
    "ohem": lambda x, y: ohem(x, y, 0.7, 0.0625),
    "ohem-least": lambda x, y: ohem(x, y, 0.01, 0.5),
    "ohem-weights": lambda x, y: ohem(x, y, 0.6, 0.25, weights),
    "boundary": lambda x, y: boundary(x, y, np.hypot(*y.shape[1:])),
    "boundary-pixels": lambda x, y: boundary(x, y, 1.0),
    # A label of a whole picture is one pixel.
    "pictures": lambda x, y: F.cross_entropy(x[:, :, 0, 0], y[:, 0, 0], label_smoothing=0.1),
}
assert (targets[:, 0, 0] < 4).all()
tensors = {"logits": logits.float(), "targets": targets.float()}

# Class weights of the same targets; class 3 has none.
counts = np.stack([np.bincount(picture[picture != 255], minlength=4) for picture in targets.numpy()])
share = counts.sum(0)[:3] / counts.sum()
frequency = counts.sum(0)[:3] / np.array([counts[counts[:, c] > 0].sum() for c in range(3)])
labels = targets[targets != 255].numpy()
BY = {
    "median-frequency": np.median(frequency) / frequency,
    "log-inverse": 1 / np.log(1.02 + share),
    "inverse": compute_class_weight("balanced", classes=np.arange(3), y=labels),
}
for name, values in BY.items():
    tensors[f"by.{name}"] = torch.tensor([*values, 0.0]).float()
for name, loss in ROWS.items():
    x = logits.float().double().requires_grad_()
    value = loss(x, targets)
    value.backward()
    tensors[f"{name}.value"] = value.detach().reshape(1).float()
    tensors[f"{name}.gradient"] = x.grad.float()
save_file(tensors, Path(__file__).parent / "losses.safetensors")
