#!/usr/bin/env bash
# The guide's figures of `kshot classify`: 81 groceries photographed in shops, 5 pictures of each as
# support, all 810 test pictures as queries, and 90 photographs of other things (10 % of the queries).
#   bash recipes/classify/grocery.sh [OUT [FLAGS...]]
# Reads $KSHOT_DATA (../shared/data); leaves labels.csv, truth.json and report.html in OUT (run/grocery).
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$(cd "${KSHOT_DATA:-../shared/data}" && pwd)
out="${1:-run/grocery}"
mkdir -p "$out"
{
  echo path,class
  find "$data/grocery/test" -type f | LC_ALL=C sort | awk -F/ '{ print $0 "," $(NF - 1) }'
  find "$data/mini_imagenet/val" -type f | LC_ALL=C sort |
    awk 'int(NR * 90 / 960) > int((NR - 1) * 90 / 960) { print $0 ",none-of-these" }'
} > "$out/query.csv"
cargo run --release --quiet -- classify --support "$data/grocery/train" --shots 5 \
  --query "$out/query.csv" --out "$out/labels.csv" "${@:2}"
