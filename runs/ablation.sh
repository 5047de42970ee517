#!/bin/bash
# The table of docs/ablation.md: every row of qig-micro with and without each component, on generated texts, short stories and puzzles. Two CPU cores: about an
# hour and a half with a second seed for the rows that matter most. Interrupt and run again: it resumes.
#   QIG_EDGE_DATA=... [OUT=runs/out/ablation] runs/ablation.sh [PROCESSES]
set -euo pipefail
cd "$(dirname "$0")/.."
: "${QIG_EDGE_DATA:?set QIG_EDGE_DATA to the folder that holds train/}"
OUT=${OUT:-runs/out/ablation}
QIG_EDGE=${QIG_EDGE:-qig-edge}
mkdir -p "$OUT"
[ -s "$OUT/tales.jsonl" ] || $QIG_EDGE data tales -n 12000 --seed 1 -o "$OUT/tales.jsonl"
[ -s "$OUT/facts.jsonl" ] || $QIG_EDGE data facts -n 4000 --seed 1 -o "$OUT/facts.jsonl"
[ -s "$OUT/puzzles.jsonl" ] || $QIG_EDGE data puzzles -n 60000 --seed 1 -o "$OUT/puzzles.jsonl"
MIX="--data $OUT/tales.jsonl --data $OUT/facts.jsonl --data $QIG_EDGE_DATA/train/stories.jsonl.xz --data $OUT/puzzles.jsonl=2"
AGAIN=()
for row in full "attention alone" "fixed coupling" "dot product" "dense twin" "no routing" "equal bytes"; do AGAIN+=(--only "$row"); done
ablate() { nice -n 10 $QIG_EDGE ablate --preset qig-micro $MIX --out "$OUT" --threads 1 "$@"; }
ablate & # the first process tokenizes, the others wait for it
for _ in $(seq 2 "${1:-2}"); do
    until [ -s "$OUT/shards/manifest.json" ]; do
        kill -0 $! || exit 1
        sleep 1
    done
    ablate &
done
wait
for _ in $(seq 1 "${1:-2}"); do ablate --seeds 2 "${AGAIN[@]}" & done
wait
ablate --seeds 2 "${AGAIN[@]}" # what is left, and the table
