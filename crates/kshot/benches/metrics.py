"""The work of metrics.rs in torchmetrics, same names: `python metrics.py [threads] [pattern]`.

    pip install torch torchmetrics scipy scikit-image

Run it with a heap that keeps its pages, as the Rust side has one:
GLIBC_TUNABLES=glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967295
`labels` and `logits` are one update of MulticlassConfusionMatrix and of MulticlassJaccardIndex each, without the
checks of values (`validate_args=False`), and the mean IoU; `boundaries` dilates each class's boundary. Times are
medians in milliseconds after three runs that do not count; the last column is the process's peak memory so far in MB.
"""

import re
import resource
import sys
import time

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import find_boundaries
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
part = sys.argv[2] if len(sys.argv) > 2 else ""
torch.set_num_threads(threads)

PICTURES, SIDE = 8, 512
SHAPE = (PICTURES, SIDE, SIDE)


def drawn(number):
    return (number * 2654435761 & 0xFFFFFFFF) >> 8


def labels(classes):
    picture, y, x = np.indices(SHAPE, dtype=np.uint64)

    def kind(y, x):
        return drawn((picture * 17 + y // 32) * 17 + x // 32)

    truth = np.where((y % 32 == 0) | (x % 32 == 0), 255, kind(y, x) % classes).astype(np.int64)
    wrong = drawn((picture * 64 + y // 8) * 64 + x // 8) % 10 == 0
    predicted = ((kind(y + 1, x + 2) + wrong) % classes).astype(np.int64)
    return torch.from_numpy(truth), torch.from_numpy(predicted)


def boundary_f(truth, predicted):
    known = truth != 255
    labels = np.unique(truth[known])
    tolerance = max(1.0, 0.0075 * np.hypot(*truth.shape))
    near, place = distance_transform_edt(~known, return_indices=True)
    truth, counts = truth[tuple(place)], near <= tolerance
    scores = []
    for c in range(1, labels.max() + 1):
        there, found = (find_boundaries(mask == c, connectivity=1, mode="inner") for mask in (truth, predicted))
        if not (there.any() or found.any()):
            continue
        near_truth, near_found = (distance_transform_edt(~edge) <= tolerance for edge in (there, found))
        there, found = there & counts, found & counts
        precision, recall = (found & near_truth).sum() / found.sum(), (there & near_found).sum() / there.sum()
        scores.append(2 * precision * recall / (precision + recall))
    return np.mean(scores)


def median(work):
    for _ in range(3):
        work()
    times, begin = [], time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - begin < 1.0 and len(times) < 100):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1e3)
    return sorted(times)[len(times) // 2]


def main():
    options = {"ignore_index": 255, "validate_args": False}
    for classes in (21, 150):
        truth, predicted = labels(classes)
        matrix = MulticlassConfusionMatrix(classes, **options)
        jaccard = MulticlassJaccardIndex(classes, **options)

        def update(metric, given):
            metric.reset()
            metric.update(given, truth)
            return metric.compute()

        def report(group, name, work):
            if re.search(part, f"{group}::{name}"):
                value = median(work)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(f"{group}\t{name}\t{value:.1f}\t{peak:.0f}", flush=True)

        report("labels", f"{classes} confusion matrix", lambda: update(matrix, predicted))
        report("labels", f"{classes}", lambda: update(jaccard, predicted))
        if re.search(part, f"logits::{classes}"):
            logits = torch.rand(PICTURES, classes, SIDE, SIDE)
            logits.scatter_add_(1, predicted[:, None], torch.full((PICTURES, 1, SIDE, SIDE), 2.0))
            report("logits", f"{classes} confusion matrix", lambda: update(matrix, logits))
            report("logits", f"{classes}", lambda: update(jaccard, logits))
            del logits
        if re.search(part, f"boundaries::{classes}"):
            pairs = list(zip(truth.numpy(), predicted.numpy()))
            report("boundaries", f"{classes}", lambda: sum(boundary_f(*pair) for pair in pairs))


if __name__ == "__main__":
    main()
