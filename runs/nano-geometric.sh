#!/bin/bash
# The second phase of qig-nano: gates, a drafting exit, calibrated confidence, the last part aware of 4 bits. About ten minutes on one core.
#   QIG_EDGE_DATA=... [OUT=runs/out] runs/nano-geometric.sh      after runs/nano-cpu.sh qig-nano
set -euo pipefail
cd "$(dirname "$0")/.."
source runs/nano-data.sh
again=(--from "$OUT/qig-nano")
compgen -G "$OUT/qig-nano-geometric/step-*" > /dev/null && again=(--resume)
$QIG_EDGE train --preset qig-nano-geometric --out "$OUT/qig-nano-geometric" --shards "$OUT/shards" --eval-tokens 400000 --compile --threads 1 \
    "${again[@]}" $FIRST $FINAL
