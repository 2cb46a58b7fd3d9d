#!/usr/bin/env bash
# Written by `hmr4d reference install-exporter`; `--uninstall` puts back what was here.
# Usage, in the folder of SMPLest-X: sh scripts/inference.sh CHECKPOINT VIDEO_IN_DEMO [FPS]
# Without FPS, the video's own rate is kept. Further words go to main/export_parameters.py.
set -eu
checkpoint=$1
video=$2
shift 2
fps=""
if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then
    fps="--fps $1"
    shift
fi
# shellcheck disable=SC2086
PYTHONPATH=".:${PYTHONPATH:-}" exec "${PYTHON:-python}" main/export_parameters.py \
    --ckpt_name "$checkpoint" --video "demo/$video" $fps "$@"
