#!/bin/bash
# qig-nano and its dense twin on a CPU: the same tokens in the same order, one core each. About three hours on two cores. Interrupt and run again: it resumes.
#   QIG_EDGE_DATA=... [OUT=runs/out] [TOKENS=20100000] runs/nano-cpu.sh [qig-nano] [dense-nano]
set -euo pipefail
cd "$(dirname "$0")/.."
source runs/nano-data.sh
[ $# -gt 0 ] || set -- qig-nano dense-nano
train() {
    local again=()
    compgen -G "$OUT/$1/step-*" > /dev/null && again=(--resume)
    nice -n 10 $QIG_EDGE train --preset "$1" --out "$OUT/$1" --shards "$OUT/shards" --tokens "${TOKENS:-20100000}" --eval-tokens 5000000 --compile --threads 1 "${again[@]}" \
        $FIRST $FINAL > "$OUT/$1.log" 2>&1
}
if [ ! -s "$OUT/shards/manifest.json" ]; then # once, before two processes would both do it
    $QIG_EDGE train --preset "$1" --out "$OUT/prepare" --shards "$OUT/shards" --tokens 8192 --final-context 256 --eval-tokens 1000000000 $FIRST $FINAL
    rm -rf "$OUT/prepare"
fi
for preset in "$@"; do train "$preset" & done
wait
