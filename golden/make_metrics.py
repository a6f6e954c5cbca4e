"""Golden values of the metrics from scikit-learn, torchmetrics and scikit-image, written to metrics.json.

    pip install scikit-learn torch torchmetrics scikit-image
    python golden/make_metrics.py CAMVID

Random masks with void pixels (255), predictions that are right two times of three; of 2 and of 5 classes
(0 is background), and of 5 where the last never occurs. Then real ones: of CamVid in SegNet's form (11 classes, no
background), every second pixel of two masks of `valannot`, and as prediction the same moved by some pixels, with a
square of another class. Confidences are levels of 0 to 255 a pixel, from a list by the pixel's number. Masks are
lists of a value and how many times it comes, row by row.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt
from skimage.morphology import binary_dilation
from skimage.segmentation import find_boundaries
from sklearn import metrics
from torchmetrics.functional import classification as torchmetrics

random = np.random.default_rng(3)


def runs(mask):
    flat = mask.ravel()
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    return [[int(flat[start]), int(count)] for start, count in zip(starts, np.diff(np.r_[starts, len(flat)]))]


def boundary_f(truth, predicted, first):
    """Boundaries by scikit-image, met if the other one, dilated by a disk, holds them."""
    tolerance = max(1.0, 0.0075 * np.hypot(*truth.shape))
    known = truth != 255
    labels = np.unique(truth[known])
    # Void takes the nearest label, the lowest of equally near ones, and counts within the tolerance.
    far = np.stack([distance_transform_edt(truth != label) for label in labels])
    truth, counts = labels[far.argmin(0)], far.min(0) <= tolerance
    side = int(tolerance)
    y, x = np.mgrid[-side : side + 1, -side : side + 1]
    disk = x**2 + y**2 <= tolerance**2
    scores = []
    for c in range(first, 251):
        there, found = (find_boundaries(mask == c, connectivity=1, mode="inner") for mask in (truth, predicted))
        there &= counts
        near_truth, near_found = (binary_dilation(edge, disk) for edge in (there, found))
        found &= counts
        if there.any() or found.any():
            precision = (found & near_truth).sum() / max(found.sum(), 1)
            recall = (there & near_found).sum() / max(there.sum(), 1)
            scores.append(2 * precision * recall / max(precision + recall, 1e-300))
    return np.mean(scores)


# Levels whose bin is the same whether counted in 255ths or 256ths, and none on the edge of a bin.
LEVELS = [c for c in range(129, 255) if c * 15 // 256 == c * 15 // 255 and c % 17]


def measured(truth, predicted, classes, background):
    """All figures of a pair of masks, of classes of which the first is background or never occurs."""
    counts = truth != 255
    y, p = truth[counts], predicted[counts]
    occurring = sorted(set(y) | set(p))
    foreground = [c for c in occurring if c or not background]
    jaccard = dict(zip(occurring, metrics.jaccard_score(y, p, labels=occurring, average=None, zero_division=0)))
    # torchmetrics agrees class by class.
    tensors = [torch.tensor(mask.ravel().astype(np.int64)) for mask in (predicted, truth)]
    of = dict(average="none", ignore_index=255)
    for name, expected in (
        ("jaccard_index", list(jaccard.values())),
        ("precision", metrics.precision_score(y, p, labels=occurring, average=None, zero_division=0)),
        ("recall", metrics.recall_score(y, p, labels=occurring, average=None, zero_division=0)),
        ("f1_score", metrics.f1_score(y, p, labels=occurring, average=None, zero_division=0)),
    ):
        index = getattr(torchmetrics, f"multiclass_{name}")(*tensors, classes, **of)
        assert np.allclose(index[occurring], expected), name
    macro = dict(labels=foreground, average="macro", zero_division=0)
    frequency = {c: (y == c).mean() for c in occurring}
    # Two probabilities of which the first is the predicted class's.
    confidence = np.resize(LEVELS, truth.shape)
    sure = torch.tensor(confidence[counts] / 255)
    ece = torchmetrics.multiclass_calibration_error(
        torch.stack([sure, 1 - sure], 1), torch.tensor((y != p).astype(int)), 2, n_bins=15, norm="l1"
    )
    values = {
        "pixel_accuracy": metrics.accuracy_score(y, p),
        "mean_pixel_accuracy": metrics.recall_score(y, p, labels=sorted(set(y)), average="macro"),
        "mean_iou": np.mean([jaccard[c] for c in foreground]),
        "fw_iou": sum(frequency[c] * jaccard[c] for c in occurring),
        "dice": metrics.f1_score(y, p, **macro),
        "precision": metrics.precision_score(y, p, **macro),
        "recall": metrics.recall_score(y, p, **macro),
        "boundary_f": boundary_f(truth, predicted, int(background)),
        "ece": ece.item(),
    }
    if background:
        # Pooled: one class taken for another is a false positive and a false negative.
        hits, wrong, missed = (
            sum(((y == c) & (p == c)).sum() for c in foreground),
            sum(((y != c) & (p == c)).sum() for c in foreground),
            sum(((y == c) & (p != c)).sum() for c in foreground),
        )
        values["binary_iou"] = (jaccard[0] + hits / (hits + wrong + missed)) / 2
    return {
        "classes": classes,
        "background": background,
        "size": list(truth.shape),
        "truth": runs(truth),
        "predicted": runs(predicted),
        "values": {name: float(value) for name, value in values.items()},
    }


def drawn(classes, occurring):
    truth = random.integers(0, occurring, (12, 20))
    predicted = np.where(random.random((12, 20)) < 0.67, truth, random.integers(0, occurring, (12, 20)))
    truth[random.random((12, 20)) < 0.1] = 255
    return measured(truth, predicted, classes, True)


def real(number, moved):
    files = sorted((Path(sys.argv[1]) / "valannot").glob("*.png"))
    mask = np.asarray(Image.open(files[number])).astype(np.int64)[::2, ::2]
    truth = np.where(mask == 11, 255, mask + 1)
    predicted = np.roll(np.where(mask == 11, 4, mask + 1), (1, moved), (0, 1))
    predicted[60:90, 100:140] = 8
    return measured(truth, predicted, 12, False)


# Whole pictures: probabilities of 10 classes.
logits = torch.tensor(2 * random.normal(size=(300, 10)))
probabilities = logits.softmax(1).float()
labels = torch.tensor(random.integers(0, 10, 300))
labels = torch.where(torch.tensor(random.random(300)) < 0.5, probabilities.argmax(1), labels)
pictures = {
    "probability": probabilities.max(1).values.tolist(),
    "right": (probabilities.argmax(1) == labels).tolist(),
    "ece": torchmetrics.multiclass_calibration_error(probabilities, labels, 10, n_bins=15, norm="l1").item(),
    "accuracy": metrics.accuracy_score(labels, probabilities.argmax(1)),
}
scores = {"in": random.normal(1, 1, 40).round(1).tolist(), "out": random.normal(0, 1, 30).round(1).tolist()}
scores["auroc"] = metrics.roc_auc_score([1] * 40 + [0] * 30, scores["in"] + scores["out"])
masks = [drawn(2, 2), drawn(5, 5), drawn(5, 4), real(0, 2), real(60, 5)]
result = {"levels": LEVELS, "masks": masks, "pictures": pictures, "scores": scores}
(Path(__file__).parent / "metrics.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
