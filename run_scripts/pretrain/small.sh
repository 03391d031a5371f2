#!/usr/bin/env bash
# Shows: nothing by itself; gives those without a released OFA checkpoint a model to start from, trained from scratch.
# Needs: DATA with the tasks of the group pretraining, BPE_DIR, PRETRAIN_UPDATES.
# Costs: PROFILE=cpu: 8 minutes on two cores; the model that comes with the package: 2 hours.
#
#   PROFILE=cpu bash run_scripts/pretrain/small.sh      # then CHECKPOINT=OUT/checkpoints/pretrained/seed1/checkpoint_last.pt
#   PROFILE=cpu SCENES=60000 bash run_scripts/data/prepare.sh && PROFILE=cpu PRETRAIN_UPDATES=10500 bash run_scripts/pretrain/small.sh
#
# A curriculum of three stages, a third of the updates each, every task under one fixed instruction: what is where; then many
# questions about one image; then numbers and verdicts, some after what they rest on (docs/nano.md). OFA's own pre-training tasks
# are of the first two kinds. All strategies and seeds start from this one model, as the paper's start from one OFA.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
if [[ "${PROFILE:-paper}" == cpu && -z "${GLOBAL_BATCH:-}" ]]; then # one training, on all cores
  : "${JOBS:=1}" "${CPU_PROCESSES:=2}" "${BATCH_SIZE:=64}" "${LR:=1.2e-3}" "${WARMUP_RATIO:=0.03}" "${LABEL_SMOOTHING:=0}"
  GLOBAL_BATCH=128 MAX_TGT_LENGTH=96
fi
experiment

SINGLE="image_captioning,grounded_captioning,visual_grounding,grounded_object_identification,object_grounding,open_domain_vqa,compositional_vqa,object_detection,counting,easy_vqa"
DENSE="dense_detection,dense_captioning,dense_grounding"
# What is not named shares the rest evenly.
SHARES_1="dense_detection=0.2,dense_captioning=0.2,dense_grounding=0.2,image_captioning=0.08"
SHARES_2="dense_question_answering=0.2,dense_region_matching=0.12,dense_caption_matching=0.06,dense_object_matching=0.06,dense_object_relationship=0.05,dense_object_localization=0.08,dense_referring_expression_grounding=0.1,dense_region_overlap=0.05,dense_detection=0.04,dense_captioning=0.05,dense_grounding=0.05,image_captioning=0.02"
SHARES_3="dense_question_answering=0.14,dense_region_matching=0.08,explained_region_matching=0.1,dense_existence=0.1,dense_counting=0.12,explained_object_matching=0.06,dense_object_matching=0.04,explained_caption_matching=0.05,dense_caption_matching=0.03,explained_region_overlap=0.05,dense_region_overlap=0.03,dense_object_localization=0.02,dense_referring_expression_grounding=0.03,dense_detection=0.01,dense_captioning=0.02,dense_grounding=0.02,dense_object_relationship=0.01,image_captioning=0.015"
EXPLAINED="dense_existence,dense_counting,explained_region_matching,explained_object_matching,explained_caption_matching,explained_region_overlap"

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

# stage NAME START OPTIONS…: one stage of the curriculum.
stage() { train 1 "$1" "$2" "$DATA" --num-instructions 1 --adam-betas '(0.9,0.98)' "${@:3}"; }

MAX_UPDATE=$(((PRETRAIN_UPDATES + 2) / 3))
stage pretrained-1 "" --tasks "$DENSE,$SINGLE" --task-shares "$SHARES_1"
stage pretrained-2 "$(checkpoint_of pretrained-1 1)" --tasks "group:pretraining,$SINGLE" --exclude-tasks "$EXPLAINED" \
  --task-shares "$SHARES_2"
stage pretrained "$(checkpoint_of pretrained-2 1)" --tasks "group:pretraining,$SINGLE" --task-shares "$SHARES_3"
