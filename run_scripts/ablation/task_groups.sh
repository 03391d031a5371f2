#!/usr/bin/env bash
# Shows: more task groups make the model better and less sensitive, added one after the other in the paper's order.
# Needs: CHECKPOINT, DATA, NI_DATA.
# Costs: as five times transfer/mixed.sh; all groups together are MixedInstruct itself.
#
#   PROFILE=cpu bash run_scripts/ablation/task_groups.sh
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

SEEDS="${ABLATION_SEEDS:-${SEEDS%% *}}"
GROUPS_IN_ORDER=(
  "group:vqa,group:image_understanding"
  "group:grounded_generation"
  "group:grounded_matching,group:image_text_matching,group:miscellaneous,group:temporal_ordering"
  "group:visual_relationship"
  "group:region_understanding"
)
point() {
  local seed="$1" number="$2" tasks="$3" name="task_groups-$2"
  train "$seed" "$name" "$DATA" --tasks "$tasks" --exclude-tasks eval --finetune-from-model "$CHECKPOINT"
  evaluate "$seed" "$name" zero_shot "$(checkpoint_of "$name" "$seed")" "$DATA" --tasks eval
}
tasks=
for number in "${!GROUPS_IN_ORDER[@]}"; do
  tasks="${tasks:+$tasks,}${GROUPS_IN_ORDER[$number]}"
  for seed in $SEEDS; do
    spawn point "$seed" "$((number + 1))" "$tasks"
  done
done
join
