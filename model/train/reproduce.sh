#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole way to a model directory: prose, training, export, evaluation.
# usage: reproduce.sh DIR [PLAN]     (PLAN small: minutes on a CPU, no use)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: reproduce.sh DIR [PLAN]}
plan=${2:-full}
compile=--compile
[ "$plan" = small ] && compile=
mkdir -p "$out"
python3 "$here/prose.py" --out "$out/data"
python3 "$here/train.py" --data "$out/data" --out "$out/checkpoint" \
    --plan "$plan" --seed 1 --workers 8 $compile
python3 "$here/export.py" --checkpoint "$out/checkpoint/ema.pt" \
    --tokenizer "$out/data/tokenizer.json" --out "$out/model"
seed=$(sha256sum "$out/model/model.safetensors" | cut -c1-8)
python3 "$here/evaluate.py" --model "$out/model" --data "$out/data" \
    --seed "$seed" --json "$out/eval.json"
