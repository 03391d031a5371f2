#!/usr/bin/env bash
# Shows: more instructions per task make the model better and less sensitive to their wording.
# Needs: CHECKPOINT, DATA, NI_DATA.
# Costs: for each of INSTRUCTION_COUNTS and ABLATION_SEEDS as transfer/mixed.sh and one model of evaluate/zero_shot.sh.
#
#   PROFILE=cpu INSTRUCTION_COUNTS="1 2 3 4" bash run_scripts/ablation/num_instructions.sh
#
# The point of five instructions is MixedInstruct itself (transfer/mixed.sh), of which the others keep everything else.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

[[ "$INSTRUCTION_COUNTS" =~ ^[1-4](\ [1-4])*$ ]] || die "INSTRUCTION_COUNTS=$INSTRUCTION_COUNTS: must be of 1 2 3 4"
point() {
  local seed="$1" count="$2" name="num_instructions-$2"
  train "$seed" "$name" "$CHECKPOINT" "$DATA:$NI_DATA" --tasks train --exclude-tasks "$EXCLUDE_TASKS" "${SHARES[@]}" \
    --num-instructions "$count"
  zero_shot "$seed" "$name" "$(checkpoint_of "$name" "$seed")"
}
for count in $INSTRUCTION_COUNTS; do
  for seed in $ABLATION_SEEDS; do
    spawn point "$seed" "$count"
  done
done
join
