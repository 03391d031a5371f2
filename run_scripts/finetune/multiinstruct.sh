#!/usr/bin/env bash
# Shows: instruction tuning on the training tasks of MultiInstruct, five instructions each (the paper's "MultiInstruct").
# Needs: CHECKPOINT, DATA.
# Costs: PROFILE=paper: 3 epochs of OFA-large on 8 GPUs. PROFILE=cpu: 2 minutes a seed on one core.
#
#   CHECKPOINT=ofa_large.pt DATA=data/multiinstruct bash run_scripts/finetune/multiinstruct.sh
#   PROFILE=cpu bash run_scripts/finetune/multiinstruct.sh
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

tune() { train "$1" MultiInstruct "$CHECKPOINT" "$DATA" --tasks train --exclude-tasks "$EXCLUDE_TASKS"; }
for_each_seed tune
