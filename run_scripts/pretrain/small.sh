#!/usr/bin/env bash
# Shows: nothing by itself; gives those without a released OFA checkpoint a model to start from, trained from scratch.
# Needs: DATA, BPE_DIR, PRETRAIN_UPDATES.
# Costs: PROFILE=cpu: 4 minutes on two cores.
#
#   PROFILE=cpu bash run_scripts/pretrain/small.sh
#
# Captions, grounding, objects and questions, each under one fixed instruction: OFA's own pre-training tasks are of these
# kinds. All strategies and seeds start from this one model, as the paper's start from one OFA.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
if [[ "${PROFILE:-paper}" == cpu ]]; then # one training, on all cores
  : "${JOBS:=1}" "${CPU_PROCESSES:=2}" "${GLOBAL_BATCH:=64}"
fi
experiment

PRETRAIN_TASKS="${PRETRAIN_TASKS:-image_captioning,grounded_captioning,visual_grounding,object_grounding,open_domain_vqa,object_detection,easy_vqa}"
[[ "$PRETRAIN_UPDATES" =~ ^[1-9][0-9]*$ ]] ||
  die "PRETRAIN_UPDATES=$PRETRAIN_UPDATES: set a number of updates, or CHECKPOINT to a model that you have"
MAX_UPDATE="$PRETRAIN_UPDATES" MAX_EPOCH=0
train 1 pretrained "" "$DATA" --tasks "$PRETRAIN_TASKS" --num-instructions 1
