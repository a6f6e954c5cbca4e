"""Golden values of the metrics from scikit-learn and torchmetrics, written to metrics.json.

    pip install scikit-learn torch torchmetrics
    python golden/make_metrics.py

Random masks with void pixels (255), predictions that are right two times of three; of 2 and of 5 classes
(0 is background), and of 5 where the last never occurs. Confidences are levels of 0 to 255 a pixel.
"""

import json
from pathlib import Path

import numpy as np
import torch
from sklearn import metrics
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_jaccard_index

random = np.random.default_rng(3)


def case(classes, occurring):
    truth = random.integers(0, occurring, 240)
    predicted = np.where(random.random(240) < 0.67, truth, random.integers(0, occurring, 240))
    truth[random.random(240) < 0.1] = 255
    counts = truth != 255
    y, p = truth[counts], predicted[counts]
    foreground = list(range(1, occurring))
    jaccard = metrics.jaccard_score(y, p, labels=range(occurring), average=None)
    index = multiclass_jaccard_index(
        torch.tensor(predicted), torch.tensor(truth), classes, average="none", ignore_index=255
    )
    assert np.allclose(index[:occurring], jaccard)
    frequency = np.bincount(y, minlength=occurring) / len(y)
    # Pooled: one class taken for another is a false positive and a false negative.
    hits, false_positives, misses = (
        sum(((y == c) & (p == c)).sum() for c in foreground),
        sum(((y != c) & (p == c)).sum() for c in foreground),
        sum(((y == c) & (p != c)).sum() for c in foreground),
    )
    # Two probabilities of which the first is the predicted class's; levels whose bin is the same
    # whether counted in 255ths or 256ths, and none on the edge of a bin.
    levels = [c for c in range(129, 255) if c * 15 // 256 == c * 15 // 255 and c % 17]
    confidence = random.choice(levels, 240)
    sure = torch.tensor(confidence[counts] / 255)
    ece = multiclass_calibration_error(
        torch.stack([sure, 1 - sure], 1), torch.tensor((y != p).astype(int)), 2, n_bins=15, norm="l1"
    )
    values = {
        "pixel_accuracy": metrics.accuracy_score(y, p),
        "mean_pixel_accuracy": metrics.balanced_accuracy_score(y, p),
        "mean_iou": jaccard[1:].mean(),
        "fw_iou": (frequency * jaccard).sum(),
        "dice": metrics.f1_score(y, p, labels=foreground, average="macro"),
        "binary_iou": (jaccard[0] + hits / (hits + false_positives + misses)) / 2,
        "ece": ece.item(),
    }
    return {
        "classes": classes,
        "truth": truth.tolist(),
        "predicted": predicted.tolist(),
        "confidence": confidence.tolist(),
        "values": {name: float(value) for name, value in values.items()},
    }


# Whole pictures: probabilities of 10 classes.
logits = torch.tensor(2 * random.normal(size=(300, 10)))
probabilities = logits.softmax(1).float()
labels = torch.tensor(random.integers(0, 10, 300))
labels = torch.where(torch.tensor(random.random(300)) < 0.5, probabilities.argmax(1), labels)
pictures = {
    "probability": probabilities.max(1).values.tolist(),
    "right": (probabilities.argmax(1) == labels).tolist(),
    "ece": multiclass_calibration_error(probabilities, labels, 10, n_bins=15, norm="l1").item(),
    "accuracy": metrics.accuracy_score(labels, probabilities.argmax(1)),
}
scores = {"in": random.normal(1, 1, 40).round(1).tolist(), "out": random.normal(0, 1, 30).round(1).tolist()}
scores["auroc"] = metrics.roc_auc_score([1] * 40 + [0] * 30, scores["in"] + scores["out"])
result = {"masks": [case(2, 2), case(5, 5), case(5, 4)], "pictures": pictures, "scores": scores}
(Path(__file__).parent / "metrics.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
