#!/usr/bin/env bash
# Shows: more kinds of training tasks make the model better and less sensitive, added one after the other in the paper's order.
# Needs: CHECKPOINT, DATA.
# Costs: for each of POINTS ("1 2 3 4") and ABLATION_SEEDS as finetune/multiinstruct.sh and one model of evaluate/zero_shot.sh.
#
#   PROFILE=cpu bash run_scripts/ablation/task_groups.sh
#
# The last two points are made by other scripts: with region understanding all groups are there, which is MultiInstruct
# (finetune/multiinstruct.sh), and with text-only instructions it is MixedInstruct (transfer/mixed.sh).
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

# Tasks beside the benchmark's (group extra), where EXCLUDE_TASKS leaves any, are questions about images.
ADDED=(
  "group:vqa,group:image_understanding,group:extra"
  "group:grounded_generation,group:grounded_matching"
  "group:image_text_matching,group:miscellaneous,group:temporal_ordering"
  "group:visual_relationship"
)
point() {
  local seed="$1" number="$2" tasks="$3" name="task_groups-$2"
  train "$seed" "$name" "$CHECKPOINT" "$DATA" --tasks "$tasks" --exclude-tasks "eval,$EXCLUDE_TASKS"
  zero_shot "$seed" "$name" "$(checkpoint_of "$name" "$seed")"
}
POINTS="${POINTS:-1 2 3 4}"
[[ "$POINTS" =~ ^[1-4](\ [1-4])*$ ]] || die "POINTS=$POINTS: must be of 1 2 3 4"
for number in $POINTS; do
  tasks="$(IFS=, && echo "${ADDED[*]:0:number}")"
  for seed in $ABLATION_SEEDS; do
    spawn point "$seed" "$number" "$tasks"
  done
done
join
