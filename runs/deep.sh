#!/usr/bin/env bash
# Decoding deep in a text beside llama.cpp: qig-100m's shape with the queries and keys of a trained model (qig-nano, spread over it), against its
# dense twin in llama.cpp with the fastest of that engine's settings; then the same with decay off.
#
#   runs/deep.sh TEXT [DEPTHS]          TEXT: a file to read; DEPTHS: 0,4096,16384
#   OUT=bench-deep THREADS=1 MARGIN=4 REPEAT=5 DECODE=16 QIG_EDGE="qig-edge" runs/deep.sh TEXT
#
# Prints two tables, which stay in OUT too. A quarter of an hour and more with depth 16384, most of it the filling of llama.cpp's caches.
set -euo pipefail
text=${1:?runs/deep.sh TEXT [DEPTHS]: a text file is missing}
depths=${2:-0,4096,16384}
out=${OUT:-bench-deep}
read -ra qig_edge <<<"${QIG_EDGE:-qig-edge}"
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out/no-decay"
sed 's/^n_layers = 8$/n_layers = 8\ndecay = false/' "$here/qig_edge/presets/qig-100m.toml" >"$out/no-decay/qig-100m.toml"
grep -qx 'decay = false' "$out/no-decay/qig-100m.toml"
for preset in qig-100m "$out/no-decay/qig-100m.toml"; do
    case $preset in *no-decay*) name=no-decay ;; *) name=decay ;; esac
    echo "== $name =="
    "${qig_edge[@]}" bench --random "$preset" --trained "$here/qig_edge/assets/qig-nano-q4_0.gguf" --peer llama.cpp --text "$text" --depths "$depths" \
        -t "${THREADS:-1}" --set "gate.margin=${MARGIN:-4}" --decode "${DECODE:-16}" --repeat "${REPEAT:-5}" | tee "$out/$name.txt"
done
