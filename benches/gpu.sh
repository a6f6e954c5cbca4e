#!/usr/bin/env bash
# A training step and an inference on one card, ours and PyTorch's, as one table.
#
#   benches/gpu.sh [DEVICE] [TORCH_DEVICE]      (cuda:0 and cuda:0 by default; vulkan:0 cuda:0; metal mps)
#
# The feature of DEVICE is built (cuda, vulkan, wgpu, metal, rocm). PYTHON names the Python with torch, timm and
# segmentation-models-pytorch (python3 by default). The first run tunes kernels and takes minutes; the results are kept,
# so that the second shows what a user gets. The table goes to standard output, all else to standard error.
set -euo pipefail
cd "$(dirname "$0")/.."

device=${1:-cuda:0}
torch_device=${2:-cuda:0}
python=${PYTHON:-python3}
feature=${device%%:*}

refuse() { echo "gpu.sh: $*" >&2; exit 2; }

case $feature in
cuda) command -v nvidia-smi >/dev/null && nvidia-smi -L | grep -q . ||
    refuse "no NVIDIA GPU here (nvidia-smi lists none); nothing is measured" ;;
rocm) command -v rocminfo >/dev/null || refuse "no AMD GPU here (rocminfo is absent); nothing is measured" ;;
metal) [ "$(uname)" = Darwin ] || refuse "metal is of Macs; nothing is measured" ;;
vulkan | wgpu) ;;
*) refuse "device '$device': valid are cuda:N, vulkan:N, wgpu:N, metal, rocm:N" ;;
esac
"$python" -c 'import torch, timm, segmentation_models_pytorch' 2>/dev/null ||
    refuse "$python lacks torch, timm or segmentation-models-pytorch; PYTHON names another"

ours=$(mktemp) theirs=$(mktemp)
trap 'rm -f "$ours" "$theirs"' EXIT
# Says what is lacking, and ends with 2, where the device is absent.
KSHOT_DEVICE=$device cargo bench -q -p kshot --features "$feature" --bench gpu >"$ours"
"$python" crates/kshot/benches/gpu.py "$torch_device" >"$theirs"

awk -F '\t' -v device="$device" -v torch="$torch_device" '
NR == FNR { if (NF == 3) { theirs[$1] = $2 } next }
NF == 3 {
    if (!told++) {
        printf "%-42s %12s %12s %8s %14s\n", "", "kshot " device, "torch " torch, "x torch", "first (s)"
    }
    if ($1 in theirs) {
        printf "%-42s %9.2f ms %9.2f ms %8.2f %14.1f\n", $1, 1e3 * $2, 1e3 * theirs[$1], theirs[$1] / $2, $3
    } else {
        printf "%-42s %9.2f ms %12s %8s %14.1f\n", $1, 1e3 * $2, "-", "-", $3
    }
}' "$theirs" "$ours"
