# Sourced by the nano runs: the corpus that the project generates, and the mixtures of both phases. Needs QIG_EDGE_DATA (a folder with train/*.jsonl.xz).
: "${QIG_EDGE_DATA:?set QIG_EDGE_DATA to the folder that holds train/}"
OUT=${OUT:-runs/out}
QIG_EDGE=${QIG_EDGE:-qig-edge}
mkdir -p "$OUT/corpus"
generate() { [ -s "$OUT/corpus/$1.jsonl" ] || $QIG_EDGE data "$1" -n "$2" --seed 1 -o "$OUT/corpus/$1.jsonl"; }
generate tales 20128
generate talk 30591
generate facts 4251
T=$QIG_EDGE_DATA/train
C=$OUT/corpus
FIRST="--data $C/tales.jsonl --data $C/talk.jsonl --data $C/facts.jsonl=2 --data $T/stories.jsonl.xz=2 --data $T/books.jsonl.xz=0.12
 --data $T/wikipedia.jsonl.xz=0.15 --data $T/dialogue.jsonl.xz=0.3 --data $T/dictionary.jsonl.xz=0.05 --data $T/qa.jsonl.xz=0.1"
FINAL="--final-data $C/talk.jsonl --final-data $C/tales.jsonl=0.5 --final-data $C/facts.jsonl --final-data $T/stories.jsonl.xz --final-data $T/dialogue.jsonl.xz=0.3
 --final-data $T/qa.jsonl.xz=0.15 --final-data $T/books.jsonl.xz=0.03 --final-data $T/wikipedia.jsonl.xz=0.05"
