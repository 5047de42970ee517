#!/bin/bash
# jarvis-12m on encyclopedic text: Wikipedia, dictionary and factbook, one and a half times (20M tokens). Hours on two CPU cores. Interrupt and run again: it
# resumes. In the end both GGUF layouts.
#   QIG_EDGE_DATA=... [OUT=runs/out] [TOKENS=20000000] [THREADS=2] runs/jarvis.sh
set -euo pipefail
cd "$(dirname "$0")/.."
: "${QIG_EDGE_DATA:?set QIG_EDGE_DATA to the folder that holds train/}"
OUT=${OUT:-runs/out}
QIG_EDGE=${QIG_EDGE:-qig-edge}
T=$QIG_EDGE_DATA/train
mkdir -p "$OUT"
AGAIN=()
compgen -G "$OUT/jarvis-12m/step-*" > /dev/null && AGAIN=(--resume)
# the preset's batch is for twenty tokens a parameter: a run of a tenth of that takes shorter ones and more of them
nice -n 10 $QIG_EDGE train --preset jarvis-12m --out "$OUT/jarvis-12m" --shards "$OUT/jarvis-shards" --tokens "${TOKENS:-20000000}" --batch-tokens 8192 \
    --micro-tokens 4096 --warmup-tokens 400000 --eval-tokens 1000000 --save-tokens 200000 --threads "${THREADS:-2}" "${AGAIN[@]}" \
    --data "$T/wikipedia.jsonl.xz" --data "$T/dictionary.jsonl.xz=0.5" --data "$T/factbook.jsonl.xz"
for layout in jarvis gpt2; do
    for recipe in q4 q8; do $QIG_EDGE convert "$OUT/jarvis-12m" --layout $layout --$recipe --force -o "$OUT/jarvis-12m-$layout-$recipe.gguf"; done
done
