#!/usr/bin/env bash
# Shows: how much of the gain is instructions, not tasks: the task's name in the place of an instruction ("TaskName").
# Needs: CHECKPOINT, DATA.
# Costs: as finetune/multiinstruct.sh.
#
#   PROFILE=cpu bash run_scripts/transfer/task_name.sh
#
# Everything else is as in finetune/multiinstruct.sh; option markers are kept.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

tune() {
  train "$1" TaskName "$CHECKPOINT" "$DATA" --tasks train --exclude-tasks "$EXCLUDE_TASKS" --prompt-style task-name
}
for_each_seed tune
