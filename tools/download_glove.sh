#!/bin/sh
# Word vectors of the published evaluators -> inputs/checkpoints/glove. Options are those of tools/download.py.
cd "$(dirname "$0")/.." || exit
exec "${PYTHON:-python}" tools/download.py glove "$@"
