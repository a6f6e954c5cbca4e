"""Distances of two domains' features, with gradients, in PyTorch's double precision: alignment.json.

CORAL as its paper defines it (arXiv 1607.01719, eq. 1-3), by torch.cov; MMD by explicit loops over pairs, with the mean of five
Gaussian kernels of 1/4 to 4 times the mean squared distance of distinct places, which has no gradient (as in the
Transfer-Learning-Library's GaussianKernel with track_running_stats off, except that kernels are averaged and all pairs
count). `standardised` is CORAL and MMD of features of mean 0 and variance 1 over both domains, whose moments have
gradients. `logistic` is scikit-learn's LogisticRegression with balanced classes, on standardised features.

    python golden/make_alignment.py
"""
import json
import pathlib

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

torch.set_default_dtype(torch.float64)
random = np.random.default_rng(17)


def coral(source, target):
    d = source.shape[1]
    return ((torch.cov(source.T) - torch.cov(target.T)) ** 2).sum() / (4 * d * d)


def mmd(source, target):
    both = torch.cat([source, target])
    n = len(both)
    squared = [[((both[i] - both[j]) ** 2).sum() for j in range(n)] for i in range(n)]
    mean = sum(squared[i][j] for i in range(n) for j in range(n) if i != j).detach() / (n * (n - 1))
    kernel = lambda i, j: sum(torch.exp(-squared[i][j] / (mean * width)) for width in (0.25, 0.5, 1, 2, 4)) / 5
    s, t = range(len(source)), range(len(source), n)
    average = lambda a, b: sum(kernel(i, j) for i in a for j in b) / (len(a) * len(b))
    return average(s, s) + average(t, t) - 2 * average(s, t)


def standardised(distance):
    def of(source, target):
        both = torch.cat([source, target])
        both = (both - both.mean(0)) / (both.var(0, unbiased=False) + 1e-5).sqrt()
        return distance(both[: len(source)], both[len(source) :])

    return of


def numbers(values):
    return [[round(float(v), 10) for v in row] for row in values]


source = random.normal(size=(6, 3)).round(3)
target = (random.normal(size=(5, 3)) * [1, 2, 0.5] + [0.5, 0, -1]).round(3)
cases = {}
for name, distance in {
    "coral": coral,
    "mmd": mmd,
    "standardised coral": standardised(coral),
    "standardised mmd": standardised(mmd),
}.items():
    s, t = (torch.tensor(values, requires_grad=True) for values in (source, target))
    value = distance(s, t)
    value.backward()
    cases[name] = {"value": float(value.detach()), "source": numbers(s.grad), "target": numbers(t.grad)}

# A penalty of p on half the squared weights beside a mean over both classes alike is C = 1 / p of the sum with weights
# of 0.5 / count.
vectors = np.concatenate([source, target])
labels = np.r_[np.zeros(len(source)), np.ones(len(target))]
scaled = (vectors - vectors.mean(0)) / vectors.std(0)
logistic = []
for penalty in (1.0, 0.1, 0.01):
    model = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=10000)
    model.fit(scaled, labels, sample_weight=np.where(labels == 1, 0.5 / len(target), 0.5 / len(source)))
    logistic.append({"penalty": penalty, "weights": model.coef_[0].tolist(), "bias": float(model.intercept_[0])})

out = {"source": source.tolist(), "target": target.tolist(), "distances": cases, "logistic": logistic}
path = pathlib.Path(__file__).with_name("alignment.json")
path.write_text(json.dumps(out) + "\n")
