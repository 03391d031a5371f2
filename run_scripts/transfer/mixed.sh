#!/usr/bin/env bash
# Shows: transfer by training on text-only and multimodal instructions at the same time ("MixedInstruct").
# Needs: CHECKPOINT, DATA, NI_DATA.
# Costs: as finetune/multiinstruct.sh; with RATIO=all an epoch has the instances of both pools.
#
#   PROFILE=cpu RATIO=0.5 bash run_scripts/transfer/mixed.sh
#
# Both pools are shuffled into one. RATIO of every epoch is text-only instructions; RATIO=all is every instance once.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

tune() {
  train "$1" MixedInstruct "$CHECKPOINT" "$DATA:$NI_DATA" --tasks train --exclude-tasks "$EXCLUDE_TASKS" "${SHARES[@]}"
}
for_each_seed tune
