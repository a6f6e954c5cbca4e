"""A bench of ours and its PyTorch script in turns, as a table: `python compare.py layers|networks|metrics [turns] [pattern]`,
and the peak memory of both: `python compare.py memory [turns] [pattern]`.

Each turn runs all rows of one side, then all of the other, on two threads; a row's figure is the median of
its turns' medians, in milliseconds. The pattern is a regular expression (`forward.*3x3`). For memory every
row of `networks` has a process of its own, whose peak resident memory counts, all that it loads included.
`KSHOT_HEAP=default` leaves both allocators as they come; otherwise both keep their pages.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parents[1] / "kshot/benches"
SCRIPTS = {
    "layers": HERE / "layers.py",
    "networks": LIBRARY / "networks.py",
    "metrics": LIBRARY / "metrics.py",
}
THREADS = "2"
UNITS = {"ns": 1e-6, "µs": 1e-3, "ms": 1.0, "s": 1e3}


def output(command, environment):
    """What a command prints; where it fails, what it says."""
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{ran.stderr}")
    return ran.stdout


def ours(bench, part, environment):
    command = ["cargo", "bench", "--quiet", "--workspace", "--bench", bench, "--", part]
    environment = {**environment, "RAYON_NUM_THREADS": THREADS}
    text = output(command, environment)
    group, rows = None, {}
    for line in text.splitlines():
        name = re.match(r"[├╰]─ (\S+)", line)
        if name:
            group = name[1]
        found = re.match(r"[│ ]\s+[├╰]─ (.+?)\s{2,}\S+ \S+\s+│ \S+ \S+\s+│ (\S+) (\S+)", line)
        if found:
            rows[group, found[1]] = float(found[2]) * UNITS[found[3]]
    return rows


def theirs(bench, part, environment):
    command = [sys.executable, str(SCRIPTS[bench]), THREADS, part]
    cells = [line.split("\t") for line in output(command, environment).splitlines()]
    return {(cell[0], cell[1]): float(cell[2]) for cell in cells}


def peak(command, environment):
    """Peak resident memory of a process and its children, in MB."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        ran = output.tell()
    if status or not ran:
        raise SystemExit(f"{' '.join(command)} failed: {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / 1024


def executable(bench):
    command = ["cargo", "bench", "--quiet", "--workspace", "--bench", bench, "--no-run", "--message-format=json"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    artifacts = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return next(a["executable"] for a in artifacts if a.get("executable") and a["target"]["name"] == bench)


def rows_of(bench):
    """Names of its rows: the bench does not list its arguments."""
    source = SCRIPTS[bench].with_suffix(".rs").read_text()
    table = re.search(r"\nconst (?:LAYERS|ROWS): .*?\];", source, re.DOTALL)[0]
    return re.findall(r'\("([^"]+)",', table)


def memory(turns, part, environment):
    binary = executable("networks")
    names = rows_of("networks")
    rows = [f"{group}::{name}" for name in names for group in ("inference", "training")]
    rows = [row for row in rows if re.search(part, row)]
    print("| | kshot, MB | PyTorch, MB | ratio |\n|---|---|---|---|")
    for row in rows:
        sides = [
            statistics.median(peak(command, environment) for _ in range(turns))
            for command in (
                [binary, "--bench", row.replace("::", ".*") + "$"],
                [sys.executable, str(SCRIPTS["networks"]), THREADS, f"^{re.escape(row)}$"],
            )
        ]
        print(f"| {row.replace('::', ', ')} | {sides[0]:.0f} | {sides[1]:.0f} | {sides[1] / sides[0]:.2f} |", flush=True)


def main():
    bench = sys.argv[1]
    turns = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    part = sys.argv[3] if len(sys.argv) > 3 else ""
    environment = dict(os.environ)
    if environment.get("KSHOT_HEAP") == "default":
        environment["MIMALLOC_PURGE_DELAY"] = "1000"
    else:
        environment["GLIBC_TUNABLES"] = (
            "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967295"
        )
    if bench == "memory":
        return memory(turns, part, {**environment, "RAYON_NUM_THREADS": THREADS})
    runs = [(ours(bench, part, environment), theirs(bench, part, environment)) for _ in range(turns)]
    print("| | kshot, ms | PyTorch, ms | ratio |\n|---|---|---|---|")
    for row in runs[0][0]:
        if all(row in side for run in runs for side in run):
            mine, other = (statistics.median(run[side][row] for run in runs) for side in (0, 1))
            print(f"| {row[0]}, {row[1]} | {mine:.2f} | {other:.2f} | {other / mine:.2f} |")


if __name__ == "__main__":
    main()
