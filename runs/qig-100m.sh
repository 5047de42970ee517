#!/bin/bash
# qig-100m and its dense twin dense-100m: the same tokens, tokenizer, order and schedule. Never ran on a GPU yet; tests/runs runs it small on a CPU.
#   [QIG_EDGE_DATA=...] [OUT=runs/out] [TOKENS=...] [STOP_AFTER=SECONDS] runs/qig-100m.sh [prepare|pack|train|convert|evaluate]...
# Stages, all of them but pack by default, each to be called again where it was stopped:
#   prepare   text and puzzles; tokenized shards (needs QIG_EDGE_DATA, a folder with train/*.jsonl.xz)
#   pack      the shards as one file of at most PACK_MB, for a machine that gets nothing else; `train` unpacks it
#   train     each of MODELS in turn by torchrun, a process for each GPU; after STOP_AFTER seconds it saves and ends with 130, and goes on when called again
#   convert   Q4_0 files, with curve and log cut into parts of PART, and their sums, in BACK
#   evaluate  joins and checks the parts where the files are not here; puzzles, text, reasoning and IPC as JSON (needs QIG_EDGE_DATA, also its eval/)
# On a machine that is lent for minutes: prepare and pack at home, train and convert there, evaluate at home.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-python}
QIG_EDGE=${QIG_EDGE:-$PYTHON -m qig_edge.cli}
MODELS=${MODELS:-qig dense}
QIG_PRESET=${QIG_PRESET:-qig-100m}     # preset names, or .toml files by absolute paths
DENSE_PRESET=${DENSE_PRESET:-dense-100m}
TOKENS=${TOKENS:-2000000000}           # of each model
STOP_AFTER=${STOP_AFTER:-0}            # 0: no limit
MICRO=${MICRO:-8192}                   # tokens a forward pass: qig-100m takes 62 GB then by estimate; VRAM=22GB chooses for a smaller card
SETTINGS=${SETTINGS:-}                 # further options of train, for both models
BOOKS=${BOOKS:-2}                      # every so many-th book
PACK_MB=${PACK_MB:-58}
PART=${PART:-15M}
TASKS=${TASKS-arc_easy,arc_challenge:train,hellaswag} # of the reasoning suite, which needs the extra eval; "" leaves it out
cd "$ROOT"
mkdir -p "${OUT:=runs/out}"
OUT=$(cd "$OUT" && pwd)
RUN=$OUT/qig-100m
mkdir -p "${BACK:=$RUN/back}"
BACK=$(cd "$BACK" && pwd)
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH} PYTORCH_CUDA_ALLOC_CONF=${PYTORCH_CUDA_ALLOC_CONF:-expandable_segments:True}
mkdir -p "$RUN/text"
cd "$RUN" # data is named from here, so that names are the same wherever the folder lies

FIRST="text/tales.jsonl text/talk.jsonl=0.5 text/facts.jsonl text/puzzles.jsonl text/stories.jsonl.xz=2 text/books.jsonl.xz text/wikipedia.jsonl.xz
 text/factbook.jsonl.xz=0.5 text/dialogue.jsonl.xz=0.5 text/dictionary.jsonl.xz=0.3 text/qa.jsonl.xz=0.3"
FINAL="text/tales.jsonl text/talk.jsonl text/facts.jsonl text/puzzles.jsonl text/stories.jsonl.xz=3 text/books.jsonl.xz=0.3 text/wikipedia.jsonl.xz
 text/factbook.jsonl.xz=0.5 text/dialogue.jsonl.xz=0.5 text/qa.jsonl.xz=0.3"
HELD_OUT=${HELD_OUT:-10} # of 1000 documents: as in runs/twin.sh

fail() {
    echo "runs/qig-100m.sh: $*" >&2
    exit 2
}

preset_of() { [ "$1" = qig ] && echo "$QIG_PRESET" || echo "$DENSE_PRESET"; }

text() {
    (cd "$ROOT" && OUT=$OUT && source runs/nano-data.sh)
    [ -s "$OUT/corpus/puzzles.jsonl" ] || $QIG_EDGE data puzzles -n "${PUZZLES:-60000}" --seed 1 -o "$OUT/corpus/puzzles.jsonl"
    ln -sf "$OUT"/corpus/{tales,talk,facts,puzzles}.jsonl text/
    local name
    for name in stories wikipedia factbook dialogue dictionary qa; do ln -sf "$QIG_EDGE_DATA/train/$name.jsonl.xz" text/; done
    if [ ! -s text/books.jsonl.xz ]; then
        xz -dc "$QIG_EDGE_DATA/train/books.jsonl.xz" | awk -v every="$BOOKS" 'NR % every == 0' | xz -T0 > text/.books.xz
        mv text/.books.xz text/books.jsonl.xz
    fi
}

prepare() {
    [ -s shards/manifest.json ] && return
    text
    $PYTHON "$ROOT/runs/shards.py" "$QIG_PRESET" "$HELD_OUT" shards $FIRST $FINAL > shards.txt
    cat shards.txt
}

pack() {
    # tokens are 16-bit numbers: said so, xz finds more in them
    tar --owner=0 --group=0 --sort=name -cf - shards | xz -T0 --lzma2=preset=9e,lc=0,lp=1,pb=1 > .shards.tar.xz
    local size
    size=$(wc -c < .shards.tar.xz)
    [ "$size" -le $((PACK_MB << 20)) ] || fail "the packed shards are $size bytes, more than PACK_MB=$PACK_MB: give BOOKS=$((BOOKS + 1)) and remove $RUN/{text,shards}"
    mv .shards.tar.xz shards.tar.xz
    echo "$RUN/shards.tar.xz: $size bytes"
}

# Trains one of MODELS. 130 where it was stopped, by the time or by a signal: it saved, and goes on when it is called again.
train() {
    [ "$(cat "$1/finished" 2> /dev/null)" = "$TOKENS" ] && return
    local again=() data=() name
    compgen -G "$1/step-*" > /dev/null && again=(--resume)
    for name in $FIRST; do data+=(--data "$name"); done
    for name in $FINAL; do data+=(--final-data "$name"); done
    local warm=$((TOKENS / 25))
    [ "$warm" -le 20000000 ] || warm=20000000
    echo "$1: the log is $RUN/$1.log" >&2
    $PYTHON -m torch.distributed.run --standalone --nproc-per-node "$PROCS" -m qig_edge.cli train --preset "$(preset_of "$1")" --out "$1" --shards shards \
        --tokens "$TOKENS" --warmup-tokens "$warm" --eval-tokens $((TOKENS / 10)) --save-tokens $((TOKENS / 5)) --validation-permille "$HELD_OUT" \
        --micro-tokens "$MICRO" ${VRAM:+--vram "$VRAM"} $SETTINGS "${again[@]}" "${data[@]}" >> "$1.log" 2>&1 &
    local job=$! asked="" code=0
    trap 'STOP_AFTER=1' INT TERM
    while kill -0 "$job" 2> /dev/null; do
        if [ -z "$asked" ] && [ "$STOP_AFTER" -gt 0 ] && [ "$SECONDS" -ge "$STOP_AFTER" ]; then
            # to the trainers, once they are there: torchrun, asked itself, kills what takes longer than half a minute to save
            pkill -TERM -P "$job" && asked=yes
        fi
        sleep 1
    done
    wait "$job" || code=$?
    trap - INT TERM
    if [ "$code" -eq 0 ]; then
        echo "$TOKENS" > "$1/finished"
    elif [ -n "$asked" ]; then
        echo "$1: $(grep -o 'stopped at step.*' "$1.log" | tail -1)" >&2
        exit 130
    else
        tail -30 "$1.log" >&2
        fail "training $1 failed ($code)"
    fi
}

# A model's file, curve and log in parts that come back one by one; sha256sum -c and cat make them whole.
convert() {
    local gate=()
    [ "$1" = qig ] && gate=(--set gate.margin=4)
    $QIG_EDGE convert "$1" --q4 --force "${gate[@]}" -o "$1.gguf" 2> "$1-convert.txt" || fail "$(cat "$1-convert.txt")"
    rm -f "$BACK/$1".*
    local files=("$1.gguf" "$1-convert.txt" "$1.log" "$1/metrics.jsonl")
    [ ! -s "$1/loss.png" ] || files+=("$1/loss.png") # a run that was killed drew none
    tar -cf - "${files[@]}" | split -b "$PART" -d - "$BACK/$1.tar."
    (cd "$BACK" && sha256sum "$1".tar.* > "$1.sha256")
}

joined() {
    [ -s "$1.gguf" ] && return
    [ -s "$BACK/$1.sha256" ] || fail "neither $RUN/$1.gguf nor its parts in $BACK"
    (cd "$BACK" && sha256sum --quiet -c "$1.sha256") || fail "parts of $1 in $BACK are missing or damaged"
    # in the order of the list: its names are those of split
    (cd "$BACK" && cut -d' ' -f3 "$1.sha256" | xargs cat) | tar -xf -
}

# Of one of MODELS; `compare` of both.
evaluate() {
    local name held_out=()
    for name in stories wikipedia dialogue dictionary qa; do held_out+=(--data "$QIG_EDGE_DATA/train/$name.jsonl.xz"); done
    $QIG_EDGE eval "$1.gguf" --suite puzzles --limit "${PROBLEMS:-2100}" --json > "$1-puzzles.json"
    $QIG_EDGE eval "$1.gguf" --suite text "${held_out[@]}" --held-out "$HELD_OUT" --limit "${DOCUMENTS:-200}" --json > "$1-text.json"
    [ -z "$TASKS" ] || $QIG_EDGE eval "$1.gguf" --suite reasoning "${SETS[@]}" --json > "$1-reasoning.json"
}

compare() {
    $QIG_EDGE ipc qig.gguf dense.gguf --limit "${PROBLEMS:-2100}" --json > ipc.json
    [ -z "$TASKS" ] || $QIG_EDGE ipc qig.gguf dense.gguf --suite reasoning "${SETS[@]}" --json > ipc-sets.json
}

for stage in "${@:-prepare train convert evaluate}"; do
    for stage in $stage; do
        case $stage in
            prepare | evaluate) : "${QIG_EDGE_DATA:?set QIG_EDGE_DATA to the folder that holds train/ and eval/}" ;;
        esac
        case $stage in
            prepare | pack) "$stage" ;;
            train)
                [ -s shards/manifest.json ] || tar -xJf shards.tar.xz || fail "no shards: neither $RUN/shards nor $RUN/shards.tar.xz"
                PROCS=${PROCS:-$($PYTHON -c 'import torch; print(torch.cuda.device_count() or 1)')}
                for model in $MODELS; do train "$model"; done
                ;;
            convert) for model in $MODELS; do convert "$model"; done ;;
            evaluate)
                SETS=(--data-dir "$QIG_EDGE_DATA/eval" --tasks "$TASKS" --limit "${ITEMS:-500}")
                for model in $MODELS; do
                    joined "$model"
                    evaluate "$model"
                done
                [ "$MODELS" != "qig dense" ] || compare
                ;;
            *) fail "unknown stage '$stage': prepare, pack, train, convert, evaluate" ;;
        esac
    done
done
