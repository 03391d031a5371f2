#!/usr/bin/env bash
# Shows: transfer by training on text-only instructions first and on MultiInstruct afterwards ("SeqInstruct").
# Needs: CHECKPOINT, DATA, NI_DATA.
# Costs: finetune/multiinstruct.sh and transfer/natural_instructions.sh, whose model is used if it is there.
#
#   PROFILE=cpu bash run_scripts/transfer/sequential.sh
#
# The second training keeps the model of the first, and begins with a fresh optimiser, schedule and order of the data.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

tune() {
  train "$1" NaturalInstruct "$CHECKPOINT" "$NI_DATA" --tasks natural_instructions
  train "$1" SeqInstruct "$(checkpoint_of NaturalInstruct "$1")" "$DATA" --tasks train --exclude-tasks "$EXCLUDE_TASKS"
}
for_each_seed tune
