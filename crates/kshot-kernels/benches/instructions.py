"""Instructions of each layer's kernels, counted by callgrind: `python instructions.py [--write]`.

Times depend on the machine and its neighbours, instructions hardly do: a change that makes a kernel do more
shows here first. Counts are of one forward and backward pass with AVX2, on one thread, in millions; they are
compared with `instructions.tsv` beside this, and more than 2 % above it is an error. `--write` renews it.
Needs valgrind.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from compare import executable, rows_of

TABLE = Path(__file__).with_suffix(".tsv")
# Entries of the kernels: this crate's, and those of the products of weights' gradients.
ENTRIES = ["*with_avx2*", "*gemm_basic*"]
ALLOWED = 1.02


def count(layers, name):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command += [f"--toggle-collect={entry}" for entry in ENTRIES]
    # One sample of one pass.
    command += [layers, "--bench", f"forward_and_backward.*{re.escape(name)}$", "--sample-count=1", "--sample-size=1"]
    environment = {**os.environ, "RAYON_NUM_THREADS": "1", "KSHOT_KERNELS": "avx2"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", run.stderr)[1]) / 1e6


def main():
    if not TABLE.exists() and "--write" not in sys.argv:
        raise SystemExit(f"no {TABLE.name} to compare with; --write makes one")
    layers, names = executable("layers"), rows_of("layers")
    before = dict(line.split("\t") for line in TABLE.read_text().splitlines()) if TABLE.exists() else {}
    counts, worse = {}, []
    for name in names:
        counts[name] = count(layers, name)
        old = float(before[name]) if name in before else None
        change = f"{counts[name] / old - 1:+.1%}" if old else "new"
        print(f"{name:40}{counts[name]:10.1f}  {change}", flush=True)
        if old and counts[name] > old * ALLOWED:
            worse.append(name)
    if "--write" in sys.argv:
        TABLE.write_text("".join(f"{name}\t{value:.1f}\n" for name, value in counts.items()))
    elif worse:
        raise SystemExit(f"more instructions than in {TABLE.name}: {', '.join(worse)}")


if __name__ == "__main__":
    main()
