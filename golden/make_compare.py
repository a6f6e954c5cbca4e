"""Golden values of paired comparisons from SciPy, written to compare.json.

    pip install scipy
    python golden/make_compare.py

Pairs of accuracies (few, so that all changes of sides are taken; and many), and the pixels of two classes in
pictures, whose mean IoU is a ratio of sums. Intervals are percentile bootstraps of `scipy.stats.bootstrap`, p-values
of `scipy.stats.permutation_test`, both paired. `deviation` is the bootstrap's standard error, by which the test knows
how far its own draws may lie from these.
"""

import json
from pathlib import Path

import numpy as np
from scipy import stats

random = np.random.default_rng(11)
RESAMPLES = 50_000


def result(first, second, statistic, interval_of, exact):
    """`statistic` takes places of units: those of the second result lie behind those of the first."""
    n = len(first)
    drawn = stats.bootstrap(
        (np.arange(n),),
        interval_of,
        n_resamples=RESAMPLES,
        confidence_level=0.95,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(5),
    )
    test = stats.permutation_test(
        (np.arange(n), np.arange(n) + n),
        lambda one, other: statistic(other) - statistic(one),
        permutation_type="samples",
        n_resamples=np.inf if exact else RESAMPLES,
        vectorized=False,
        alternative="two-sided",
        rng=np.random.default_rng(6),
    )
    return {
        "first": first,
        "second": second,
        "difference": float(test.statistic),
        "interval": [float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)],
        "above_zero": float((drawn.bootstrap_distribution > 0).mean()),
        "deviation": float(drawn.standard_error),
        "p": float(test.pvalue),
    }


def means(n, gain, exact):
    first = random.beta(8, 3, n).round(3)
    second = (first + gain + random.normal(0, 0.08, n)).clip(0, 1).round(3)
    both = np.concatenate([first, second])
    of = lambda places: both[places.astype(int)].mean()
    return result(first.tolist(), second.tolist(), of, lambda places: of(places + n) - of(places), exact)


def ious(n, gain, exact):
    """Of each picture and class: true positives, false positives, false negatives."""

    def counts(quality):
        hits = (sizes * quality.clip(0, 1)).round()
        wrong = (sizes * random.uniform(0, 0.4, sizes.shape)).round()
        return np.stack([hits, wrong, sizes - hits], -1).astype(int)

    sizes = random.lognormal(5, 1.2, (n, 2)).round()
    quality = random.normal(0.6, 0.2, (n, 2))
    first, second = counts(quality), counts(quality + gain + random.normal(0, 0.1, (n, 2)))
    both = np.concatenate([first, second])

    def of(places):
        sums = both[places.astype(int)].sum(0)
        return (sums[:, 0] / sums.sum(1)).mean()

    return result(first.tolist(), second.tolist(), of, lambda places: of(places + n) - of(places), exact)


cases = {
    "means": [means(9, 0.05, True), means(12, 0.0, True), means(60, 0.02, False), means(200, 0.0, False)],
    "ious": [ious(10, 0.1, True), ious(40, 0.05, False), ious(80, 0.0, False)],
    "percentiles": {"values": random.normal(size=37).round(3).tolist()},
}
values = cases["percentiles"]["values"]
cases["percentiles"]["interval"] = np.percentile(values, [2.5, 97.5]).tolist()
(Path(__file__).parent / "compare.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
