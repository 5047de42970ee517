#!/bin/bash
# A draft for speculation on a trained qig-nano, which stays as it is. About half an hour on one core.
#   QIG_EDGE_DATA=... [OUT=runs/out] runs/nano-draft.sh      after runs/nano-cpu.sh qig-nano
set -euo pipefail
cd "$(dirname "$0")/.."
source runs/nano-data.sh
again=(--from "$OUT/qig-nano")
compgen -G "$OUT/qig-nano-draft/step-*" > /dev/null && again=(--resume)
$QIG_EDGE train --preset qig-nano-draft --out "$OUT/qig-nano-draft" --shards "$OUT/shards" --eval-tokens 400000 --threads 1 \
    "${again[@]}" $FIRST $FINAL
