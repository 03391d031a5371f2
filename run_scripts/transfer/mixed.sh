#!/usr/bin/env bash
# Shows: transfer by training on text-only and multimodal instructions at the same time ("MixedInstruct").
# Needs: CHECKPOINT, DATA, NI_DATA.
# Costs: as finetune/multiinstruct.sh.
#
#   PROFILE=cpu RATIO=0.3 bash run_scripts/transfer/mixed.sh
#
# Both pools are shuffled into one; RATIO of every epoch is text-only instructions (RATIO=as-is takes every instance once).
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

shares=()
[[ "$RATIO" == as-is ]] || shares=(--task-shares "natural_instructions=$RATIO")
tune() {
  train "$1" MixedInstruct "$DATA:$NI_DATA" --tasks train "${shares[@]}" --finetune-from-model "$CHECKPOINT"
}
for_each_seed tune
