# Sourced by the nano runs: the corpus that the project generates, and the mixtures of both phases. Needs QIG_EDGE_DATA (a folder with train/*.jsonl.xz).
: "${QIG_EDGE_DATA:?set QIG_EDGE_DATA to the folder that holds train/}"
OUT=${OUT:-runs/out}
QIG_EDGE=${QIG_EDGE:-qig-edge}
mkdir -p "$OUT/corpus"
[ -s "$OUT/corpus/facts.jsonl" ] || ${PYTHON:-python} -m qig_edge.corpus.generate "$OUT/corpus" --seed 1
T=$QIG_EDGE_DATA/train
C=$OUT/corpus
FIRST="--data $C/tales.jsonl --data $C/talk.jsonl --data $C/facts.jsonl=2 --data $T/stories.jsonl.xz=2 --data $T/books.jsonl.xz=0.12
 --data $T/wikipedia.jsonl.xz=0.15 --data $T/dialogue.jsonl.xz=0.3 --data $T/dictionary.jsonl.xz=0.05 --data $T/qa.jsonl.xz=0.1"
FINAL="--final-data $C/talk.jsonl --final-data $C/tales.jsonl=0.5 --final-data $C/facts.jsonl --final-data $T/stories.jsonl.xz --final-data $T/dialogue.jsonl.xz=0.3
 --final-data $T/qa.jsonl.xz=0.15 --final-data $T/books.jsonl.xz=0.03 --final-data $T/wikipedia.jsonl.xz=0.05"
