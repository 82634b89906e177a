#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole way to a model directory: prose, training, export, evaluation.
# usage: reproduce.sh DIR [GPUS | small]     (small: minutes on a CPU, no use)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: reproduce.sh DIR [GPUS | small]}
gpus=${2:-4}
mkdir -p "$out"
python3 "$here/prose.py" --out "$out/data" --entries 6144
set -- --data "$out/data" --out "$out/checkpoint" --seed 1
if [ "$gpus" = small ]; then
    python3 "$here/train.py" "$@" --plan small --workers 2
else
    OMP_NUM_THREADS=1 torchrun --nproc-per-node "$gpus" "$here/train.py" \
        "$@" --workers 16 --compile
fi
python3 "$here/export.py" --checkpoint "$out/checkpoint/ema.pt" \
    --tokenizer "$out/data/tokenizer.json" --out "$out/model" \
    --log "$out/checkpoint/train.jsonl"
seed=$(sha256sum "$out/model/model.safetensors" | cut -c1-8)
python3 "$here/evaluate.py" --model "$out/model" --data "$out/data" \
    --seed "$seed" --tokens 1024,16384,131072 --json "$out/eval.json"
