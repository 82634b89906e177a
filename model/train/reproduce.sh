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

export_model() { # run
    python3 "$here/export.py" --checkpoint "$1/ema.pt" \
        --tokenizer "$out/data/tokenizer.json" --out "$out/model" \
        --log "$1/train.jsonl"
}

run() { # plan, further flags
    plan=$1
    shift
    OMP_NUM_THREADS=1 torchrun --nproc-per-node "$gpus" "$here/train.py" \
        --data "$out/data" --out "$out/$plan" --seed 1 --plan "$plan" \
        --workers 16 --compile "$@"
    export_model "$out/$plan"
}

measure="--tokens 1024,16384,131072"
if [ "$gpus" = small ]; then
    measure="--tokens 1024 --questions 16 --docs 2"
    python3 "$here/train.py" --data "$out/data" --out "$out/small" --seed 1 \
        --plan small --workers 2
    export_model "$out/small"
else
    run first
    run second --resume "$out/model" --from 14100
    run third --resume "$out/model" --from 34100
    run fourth --resume "$out/model" --from 46100
    run fifth --resume "$out/model" --from 64100
    # Up to here the prose had all of its words.  The last four were trained on
    # two cards, 64 documents a step; the eighth once taken up again (--seed 9).
    run eighth --resume "$out/model" --from 74100 --seed 8
    run ninth --resume "$out/model" --from 114100 --seed 10
    run tenth --resume "$out/model" --from 133350 --seed 20
    run eleventh --resume "$out/model" --from 154600 --seed 22
fi
seed=$(sha256sum "$out/model/model.safetensors" | cut -c1-8)
# shellcheck disable=SC2086 # several words
python3 "$here/evaluate.py" --model "$out/model" --data "$out/data" \
    --seed "$seed" $measure --json "$out/eval.json"
