#!/bin/bash
# QIG against its dense twin: the same parameters, tokens, tokenizer and order, at two sizes. Two CPU cores: about three hours. Interrupt and run again: it resumes.
#   QIG_EDGE_DATA=... [OUT=runs/out] [SIZES="1m 3m"] [TOKENS=10000000] [PUZZLE_TOKENS=4000000] [DOCUMENTS=200] [ITEMS=500] runs/twin.sh
# Every pair learns from the mixture of qig-nano with some puzzles, then goes on with nothing but puzzles: what it is worth on text is told of the first, on puzzles of both.
# runs/twin_results.py makes the tables and curves of docs/results.md of the JSON files that this leaves in OUT/twin.
set -euo pipefail
cd "$(dirname "$0")/.."
source runs/nano-data.sh
[ -s "$OUT/corpus/puzzles.jsonl" ] || $QIG_EDGE data puzzles -n 60000 --seed 1 -o "$OUT/corpus/puzzles.jsonl"
FIRST="$FIRST --data $C/puzzles.jsonl=2"
FINAL="$FINAL --final-data $C/puzzles.jsonl=0.5"
train() { # NAME SHARDS ARGUMENT...
    local name=$1 shards=$2 again=()
    shift 2
    compgen -G "$OUT/twin/$name/step-*" > /dev/null && again=(--resume)
    nice -n 10 $QIG_EDGE train --out "$OUT/twin/$name" --shards "$OUT/twin/$shards" --compile --threads 1 "${again[@]}" "$@" > "$OUT/twin/$name.log" 2>&1
    ln -sfn "../$shards" "$OUT/twin/$name/shards" # where convert finds the held-out text of a run
}
mixed() { train "$1-$2" "shards-$2" ${TOKENS:+--tokens "$TOKENS"} --preset "runs/twin/$1-$2.toml" --eval-tokens 2000000 $FIRST $FINAL; } # KIND SIZE
puzzled() { # KIND SIZE
    train "$1-$2-puzzles" "shards-$2-puzzles" --preset "runs/twin/$1-$2.toml" --from "$OUT/twin/$1-$2" --data "$C/puzzles.jsonl" --tokens "${PUZZLE_TOKENS:-4000000}" --eval-tokens 1000000
}
both() { # FUNCTION SIZE SHARDS: qig and its twin, a core each
    "$1" qig "$2" & # tokenizes, the other waits for it
    local qig=$!
    until [ -s "$OUT/twin/$3/manifest.json" ]; do
        kill -0 "$qig" || exit 1
        sleep 1
    done
    "$1" dense "$2" &
    local twin=$!
    wait "$qig" # one that was stopped is to be gone on with, not compared
    wait "$twin"
}
mkdir -p "$OUT/twin"
for size in ${SIZES:-1m 3m}; do
    both mixed "$size" "shards-$size"
    both puzzled "$size" "shards-$size-puzzles"
done

GATE="--set gate.margin=4" # of what QIG scores, the keys within 4 nats of the best one
HELD_OUT=""
for text in stories wikipedia dialogue dictionary qa; do HELD_OUT="$HELD_OUT --data $T/$text.jsonl.xz"; done
PROSE="--text $QIG_EDGE_DATA/eval/tinyshakespeare.txt" # what is read while times are taken
TASKS="--tasks arc_easy,arc_challenge:train,hellaswag,gsm8k --limit ${ITEMS:-500}"
TIMES="-t 1 $PROSE --prefill 256 --decode 64 --depths 0,1024,4096"
for size in ${SIZES:-1m 3m}; do
    q=$OUT/twin/qig-$size d=$OUT/twin/dense-$size
    for made in "$q" "$q-puzzles" "$d" "$d-puzzles"; do
        gate=$GATE
        case $made in "$d"*) gate="" ;; esac
        $QIG_EDGE convert "$made" --q4 --force $gate -o "$made.gguf" 2> "$made-convert.txt"
        $QIG_EDGE eval "$made.gguf" --suite puzzles --limit 2100 --plot "$made-puzzles.png" --json > "$made-puzzles.json"
    done
    $QIG_EDGE convert "$q" --q4 --force -o "$q-open.gguf" 2> "$q-open-convert.txt" # without the gate
    for model in "$q" "$q-open" "$d"; do
        $QIG_EDGE eval "$model.gguf" --suite text $HELD_OUT --held-out 10 --limit "${DOCUMENTS:-200}" --json > "$model-text.json"
        $QIG_EDGE bench "$model.gguf" $TIMES --repeat 5 --json > "$model-row.json"
        $QIG_EDGE bench "$model.gguf" --peer llama.cpp --peer-model "$d.gguf" $TIMES --repeat 5 --json > "$model-peer.json"
    done
    for model in "$q" "$d"; do
        $QIG_EDGE eval "$model.gguf" --suite reasoning --data-dir "$QIG_EDGE_DATA/eval" $TASKS --json > "$model-reasoning.json"
    done
    $QIG_EDGE bench "$q.gguf" --beside "$q-open.gguf" --beside "$d.gguf" $TIMES --repeat 9 --json > "$OUT/twin/$size-speed.json"
    for depth in 0 1024 4096; do
        $QIG_EDGE ipc "$q-puzzles.gguf" "$d-puzzles.gguf" --levels 1-3 --limit 2100 $PROSE --depth "$depth" --json > "$OUT/twin/$size-ipc-$depth.json"
    done
    for levels in 1-2 1-4 1-5; do # how much hangs on where the hardest level is
        $QIG_EDGE ipc "$q-puzzles.gguf" "$d-puzzles.gguf" --levels "$levels" --limit 2100 $PROSE --json > "$OUT/twin/$size-ipc-levels-$levels.json"
    done
    $QIG_EDGE ipc "$q.gguf" "$d.gguf" --limit 2100 $PROSE --json > "$OUT/twin/$size-ipc-mixed.json"
    $QIG_EDGE ipc "$q.gguf" "$d.gguf" --suite reasoning --data-dir "$QIG_EDGE_DATA/eval" $TASKS $PROSE --json > "$OUT/twin/$size-ipc-sets.json"
done
