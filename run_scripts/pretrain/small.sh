#!/usr/bin/env bash
# Shows: nothing by itself; gives those without a released OFA checkpoint a model to start from, trained from scratch.
# Needs: DATA, BPE_DIR, PRETRAIN_UPDATES.
# Costs: PROFILE=cpu: 8 minutes on two cores.
#
#   PROFILE=cpu bash run_scripts/pretrain/small.sh      # then CHECKPOINT=OUT/checkpoints/pretrained/seed1/checkpoint_last.pt
#
# Captions, grounding, objects and questions, each under one fixed instruction: OFA's own pre-training tasks are of these
# kinds. All strategies and seeds start from this one model, as the paper's start from one OFA.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
if [[ "${PROFILE:-paper}" == cpu && -z "${GLOBAL_BATCH:-}" ]]; then # one training, on all cores
  : "${JOBS:=1}" "${CPU_PROCESSES:=2}"
  GLOBAL_BATCH=64
fi
experiment

# Dense answers first and most: one word per image teaches an image tower from scratch too little (docs/nano.md).
PRETRAIN_TASKS="${PRETRAIN_TASKS:-group:pretraining,image_captioning,grounded_captioning,visual_grounding,grounded_object_identification,object_grounding,open_domain_vqa,object_detection,easy_vqa}"
PRETRAIN_SHARES="${PRETRAIN_SHARES:-group:pretraining=0.6}"
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
train 1 pretrained "" "$DATA" --tasks "$PRETRAIN_TASKS" --task-shares "$PRETRAIN_SHARES" --num-instructions 1
