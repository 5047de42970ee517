#!/bin/bash
# The golden model of the tests: trains it (minutes on one core) and writes its files and what every executor must compute with them.
#   [OUT=build/golden] [PYTHON=python] runs/golden.sh
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD
PYTHON=${PYTHON:-python}
$PYTHON tests/golden/make.py train --work "${OUT:-build/golden}"
$PYTHON tests/golden/make.py expect
