#!/bin/bash
# QIG against its dense twin: the same parameters, tokens, tokenizer and order, at two sizes. Two CPU cores: about five hours. Interrupt and run again: it resumes.
#   QIG_EDGE_DATA=... [OUT=runs/out] [SIZES="1m 3m"] runs/twin.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source runs/nano-data.sh
[ -s "$OUT/corpus/puzzles.jsonl" ] || $QIG_EDGE data puzzles -n 60000 --seed 1 -o "$OUT/corpus/puzzles.jsonl"
FIRST="$FIRST --data $C/puzzles.jsonl=2"
FINAL="$FINAL --final-data $C/puzzles.jsonl=0.5"
train() { # NAME SIZE
    local again=()
    compgen -G "$OUT/twin/$1/step-*" > /dev/null && again=(--resume)
    nice -n 10 $QIG_EDGE train --preset "runs/twin/$1.toml" --out "$OUT/twin/$1" --shards "$OUT/twin/shards-$2" --compile --threads 1 --eval-tokens 2000000 "${again[@]}" \
        $FIRST $FINAL > "$OUT/twin/$1.log" 2>&1
}
mkdir -p "$OUT/twin"
for size in ${SIZES:-1m 3m}; do
    train "qig-$size" "$size" & # the first one tokenizes, the other waits for it
    qig=$!
    until [ -s "$OUT/twin/shards-$size/manifest.json" ]; do
        kill -0 "$qig" || exit 1
        sleep 1
    done
    train "dense-$size" "$size" &
    twin=$!
    wait "$qig" # one that was stopped is to be gone on with, not compared
    wait "$twin"
done
# What both are worth, as JSON files beside them; runs/twin_results.py makes the tables of docs/results.md of these.
HELD_OUT=""
for text in stories books wikipedia dialogue dictionary qa; do HELD_OUT="$HELD_OUT --data $T/$text.jsonl.xz"; done
for size in ${SIZES:-1m 3m}; do
    qig=$OUT/twin/qig-$size twin=$OUT/twin/dense-$size
    for model in "$qig" "$twin"; do
        gate=()
        [ "$model" = "$twin" ] || gate=(--set gate.margin=4)
        $QIG_EDGE convert "$model" --q4 --force "${gate[@]}" -o "$model.gguf"
        $QIG_EDGE eval "$model.gguf" --suite puzzles --limit 2100 --json > "$model-puzzles.json"
        $QIG_EDGE eval "$model.gguf" --suite text $HELD_OUT --held-out 10 --limit "${DOCUMENTS:-200}" --json > "$model-text.json"
    done
    $QIG_EDGE bench "$qig.gguf" --beside "$twin.gguf" -t 1 --prefill 256 --decode 64 --depths 0,1024,4096 --repeat 9 --json > "$OUT/twin/$size-speed.json"
    for model in "$qig" "$twin"; do
        $QIG_EDGE bench "$model.gguf" --peer llama.cpp --peer-model "$twin.gguf" -t 1 --prefill 256 --decode 64 --depths 0,1024,4096 --repeat 5 --json > "$model-peer.json"
    done
    $QIG_EDGE ipc "$qig.gguf" "$twin.gguf" --limit 2100 --json > "$OUT/twin/$size-ipc.json"
done
