#!/usr/bin/env bash
# Shows: nothing by itself; gives those without a released OFA checkpoint a model to start from, trained from scratch.
# Needs: DATA with the tasks of the group pretraining, BPE_DIR, PRETRAIN_UPDATES.
# Costs: PROFILE=cpu: 8 minutes on two cores; the model that comes with the package: 2 hours.
#
#   PROFILE=cpu bash run_scripts/pretrain/small.sh      # then CHECKPOINT=OUT/checkpoints/pretrained/seed1/checkpoint_last.pt
#   PROFILE=cpu SCENES=60000 bash run_scripts/data/prepare.sh && PROFILE=cpu PRETRAIN_UPDATES=10500 bash run_scripts/pretrain/small.sh
#
# The three stages of curriculum.sh take a quarter, a quarter and a half of the updates. All strategies and seeds start from this
# one model, as the paper's start from one OFA.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
if [[ "${PROFILE:-paper}" == cpu && -z "${GLOBAL_BATCH:-}" ]]; then # one training, on all cores
  : "${JOBS:=1}" "${CPU_PROCESSES:=2}" "${BATCH_SIZE:=64}" "${LR:=1.2e-3}" "${WARMUP_RATIO:=0.03}" "${LABEL_SMOOTHING:=0}"
  GLOBAL_BATCH=128 MAX_TGT_LENGTH=96
fi
experiment

[[ "$PRETRAIN_UPDATES" =~ ^[1-9][0-9]*$ ]] ||
  die "PRETRAIN_UPDATES=$PRETRAIN_UPDATES: set a number of updates, or CHECKPOINT to a model that you have"
MAX_UPDATE="$PRETRAIN_UPDATES" MAX_EPOCH=0
if [[ -z "$BPE_DIR" ]]; then # of all that is trained on later, so that no word of it is cut into bytes
  BPE_DIR="$OUT/data/vocabulary" BPE=(--bpe-dir "$OUT/data/vocabulary")
  if [[ ! -f "$BPE_DIR/dict.txt" ]]; then
    IFS=: read -ra directories <<< "$DATA:$NI_DATA"
    run ofa-mi vocabulary --out "$BPE_DIR" --num-bins 64 --num-codes 0 "${directories[@]}"
  fi
fi

if [[ -n "${PRETRAIN_TASKS:-}" ]]; then # data of your own: one stage of tasks that they have
  train 1 pretrained "" "$DATA" --num-instructions 1 --tasks "$PRETRAIN_TASKS"
  exit
fi

source "$ROOT/run_scripts/pretrain/curriculum.sh"
stage() { train 1 "$1" "$2" "$DATA" "${@:3}" --adam-betas '(0.9,0.98)'; }
made() { checkpoint_of "$1" 1; }
curriculum
