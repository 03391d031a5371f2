#!/usr/bin/env bash
# Shows: more instructions per task make the model better and less sensitive to wording (the paper's figure on 1 to 5).
# Needs: CHECKPOINT, DATA, NI_DATA.
# Costs: as four times transfer/mixed.sh; five instructions are MixedInstruct itself.
#
#   PROFILE=cpu bash run_scripts/ablation/num_instructions.sh
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

SEEDS="${ABLATION_SEEDS:-${SEEDS%% *}}"
point() {
  local seed="$1" number="$2" name="num_instructions-$2"
  train "$seed" "$name" "$DATA:$NI_DATA" --tasks train --task-shares "natural_instructions=$RATIO" \
    --num-instructions "$number" --finetune-from-model "$CHECKPOINT"
  evaluate "$seed" "$name" zero_shot "$(checkpoint_of "$name" "$seed")" "$DATA" --tasks eval
}
for number in 1 2 3 4; do
  for seed in $SEEDS; do
    spawn point "$seed" "$number"
  done
done
join
