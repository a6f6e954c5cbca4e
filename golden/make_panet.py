"""Golden values of PANet's losses from PyTorch, written to panet.safetensors.

    pip install torch safetensors
    python golden/make_panet.py

The formulas of the paper (arXiv 1908.06391, sections 3.2 to 3.4) in 64 bits on random feature maps:
2-way 2-shot, one query, with void pixels; maps are brought up to the masks, averaged under them, and
compared by cosine. As kshot has it, each pixel of a map is of unit length before it is averaged, and the
query's predicted mask is taken at the masks' size.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(11)
WAYS, SHOTS, SCALE = 2, 2, 20.0
SIZE = (20, 28)
support = torch.randn(WAYS * SHOTS, 6, 5, 7, dtype=torch.float64, requires_grad=True)
query = torch.randn(1, 6, 5, 7, dtype=torch.float64, requires_grad=True)


def blobs(values):
    """Smooth random regions of the values."""
    noise = F.interpolate(torch.randn(1, len(values), 4, 5), SIZE, mode="bicubic")[0]
    return torch.tensor(values)[noise.argmax(0)]


support_labels = torch.stack([blobs([0, way + 1, 255]) for way in range(WAYS) for _ in range(SHOTS)])
query_labels = blobs([0, 1, 2, 255])[None]


def average(maps, mask):
    up = F.interpolate(maps, SIZE, mode="bilinear", align_corners=False)
    return (up * mask).sum((0, 2, 3)) / (mask.sum() + 1e-5)


def segment(maps, prototypes):
    logits = torch.stack([SCALE * F.cosine_similarity(maps, p[None, :, None, None]) for p in prototypes], 1)
    return F.interpolate(logits, SIZE, mode="bilinear", align_corners=False)


unit_support, unit_query = F.normalize(support, dim=1), F.normalize(query, dim=1)
mask = lambda labels, value: (labels == value).double()[:, None]
each = lambda index, value: average(unit_support[index : index + 1], mask(support_labels[index : index + 1], value))
background = torch.stack([each(index, 0) for index in range(WAYS * SHOTS)]).mean(0)
prototypes = [background]
for way in range(WAYS):
    shots = range(way * SHOTS, (way + 1) * SHOTS)
    prototypes.append(torch.stack([each(index, way + 1) for index in shots]).mean(0))
logits = segment(unit_query, prototypes)
query_loss = F.cross_entropy(logits, query_labels, ignore_index=255)

predicted = logits.argmax(1)
pooled = [average(unit_query, mask(predicted, value)) for value in range(WAYS + 1)]
align_loss = torch.zeros((), dtype=torch.float64)
for way in range(WAYS):
    if not (predicted == way + 1).any():
        continue
    for index in range(way * SHOTS, (way + 1) * SHOTS):
        back = segment(unit_support[index : index + 1], [pooled[0], pooled[way + 1]])
        labels = support_labels[index : index + 1].clone()
        labels[labels == way + 1] = 1
        align_loss = align_loss + F.cross_entropy(back, labels, ignore_index=255) / SHOTS / WAYS
(query_loss + align_loss).backward()
out = {
    "support": support,
    "query": query,
    "support_labels": support_labels,
    "query_labels": query_labels,
    "logits": logits,
    "losses": torch.stack([query_loss, align_loss]),
    "support_gradient": support.grad,
    "query_gradient": query.grad,
}
out = {name: value.detach().float().contiguous() for name, value in out.items()}
print(out["losses"], [(predicted == value).sum().item() for value in range(3)])
save_file(out, Path(__file__).parent / "panet.safetensors")
