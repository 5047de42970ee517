#!/bin/bash
# The golden models of the tests, QIG and Jarvis: trains them (minutes on one core) and writes their files and what every executor must compute with them.
#   [OUT=build/golden] [PYTHON=python] runs/golden.sh
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD
PYTHON=${PYTHON:-python}
$PYTHON tests/golden/make.py train --work "${OUT:-build/golden}"
$PYTHON tests/golden/make.py expect
$PYTHON tests/golden/make_jarvis.py train --work "${OUT:-build/golden}-jarvis"
$PYTHON tests/golden/make_jarvis.py expect
