#!/usr/bin/env bash
# Makes what tests/compatibility reads, with the version that is checked out, in an empty folder:
#
#   bash tests/compatibility/make.sh FOLDER
#
# The files in `files/` were made by version 0.1.0, before its packages were put in order, and stay as they are: later
# versions must read them. `ofa-mi` and `xz` are on the PATH. All names are relative, so that no file tells of a machine.
set -euo pipefail
mkdir "$1"
cd "$1"
export OMP_NUM_THREADS=1 OFA_MI_KERNELS=reference

# Data with all sidecars. These belong to a time of change, which git does not keep: the tests set it again.
ofa-mi data scenes --out data --train-scenes 3 --valid-scenes 2 --test-scenes 8 --test-per-task 3 --side 96 \
  --tasks image_captioning visual_grounding visual_entailment
touch --date=@1700000000 data/*.jsonl
python - << 'END'
from ofa_mi.data.vocabulary import build_compact

build_compact([" what does the image show? yes no"], "vocabulary", num_codes=1, num_bins=24)
END

# A model as small as can be.
train() {
  ofa-mi train data --task multiinstruct --arch ofa_nano --bpe-dir vocabulary --patch-image-size 48 --max-image-size 96 \
    --resnet-type resnet_nano --encoder-embed-dim 8 --encoder-ffn-embed-dim 16 --encoder-layers 1 --decoder-layers 1 \
    --encoder-attention-heads 2 --decoder-attention-heads 2 --max-source-positions 160 --max-target-positions 96 \
    --max-src-length 128 --max-tgt-length 64 --token-bucket-size 8 --image-bucket-size 4 --freeze-resnet \
    --criterion adjust_label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer adam --adam-betas '(0.9,0.98)' \
    --lr-scheduler linear_decay --clip-norm 1 --batch-size 2 --num-workers 0 --seed 1 --valid-metrics off \
    --no-epoch-checkpoints --log-format json --log-interval 1 --cpu "$@"
}
train --save-dir run --lr 1e-2 --max-update 5 --save-interval-updates 2

# The checkpoint in the middle of the first epoch, made to take little room: convolutions get weights of three values, all
# other numbers lose digits. The folder of the plugin, a path of this machine, goes.
python - << 'END'
import argparse

import torch

with torch.serialization.safe_globals([argparse.Namespace]):
    state = torch.load("run/checkpoint_1_2.pt", weights_only=True)


def coarse(weight):
    if not weight.is_floating_point():
        return weight
    scale = 2 * weight.std() if weight.dim() == 4 else None
    return weight.bfloat16().float() if scale is None else (weight.abs() > scale) * weight.sign() * scale


state["model"] = {name: coarse(weight) for name, weight in state["model"].items()}
for moments in state["last_optimizer_state"]["state"].values():
    for name in ("exp_avg", "exp_avg_sq"):
        moment = moments[name]
        moments[name] = torch.full_like(moment, moment.mean()) if moment.dim() == 4 else moment.bfloat16().float()


def forget_paths(settings):
    for name, value in settings.items():
        if isinstance(value, dict):
            forget_paths(value)
        elif isinstance(value, argparse.Namespace):
            forget_paths(vars(value))
        elif isinstance(value, str) and value.startswith("/"):
            settings[name] = "ofa_mi" if name == "user_dir" else ""


forget_paths(state)
torch.save(state, "checkpoint.pt")
END

# The losses of the updates after it.
mkdir resumed
cp checkpoint.pt resumed/checkpoint_last.pt
train --save-dir resumed --lr 1e-2 --max-update 5 > log.txt
grep -o '{"epoch".*"num_updates".*' log.txt | grep '"loss"' > losses.jsonl

ofa-mi checkpoint convert checkpoint.pt model.safetensors
ofa-mi evaluate --checkpoint model.safetensors --data data --tasks visual_entailment --instructions 1 2 3 \
  --mode constrained --out evaluation --device cpu
ofa-mi predict --checkpoint model.safetensors --device cpu --image data/images/test/00000.png --mode rank --json \
  --instruction "what does the image show?" --options yes no "not sure" > answer.json
rm -r run resumed log.txt data/.ofa_mi/*.lock
sed -i "s|$PWD/||" evaluation/run.json
xz checkpoint.pt model.safetensors
