#!/usr/bin/env bash
# Shows: the paper's main table: every evaluation task once per instruction, for every strategy that has been trained.
# Needs: the models of finetune/ and transfer/, DATA.
# Costs: PROFILE=cpu: under a minute a model and seed on one core.
#
#   PROFILE=cpu bash run_scripts/evaluate/zero_shot.sh
#   MODELS="MultiInstruct MixedInstruct" bash run_scripts/evaluate/zero_shot.sh
#
# Each strategy is prompted as it was trained: TaskName by task names, NaturalInstruct without option markers.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

MODELS="${MODELS:-TaskName MultiInstruct NaturalInstruct MixedInstruct SeqInstruct}"
measure() {
  local seed="$1" model="$2"
  evaluate "$seed" "$model" zero_shot "$(checkpoint_of "$model" "$seed")" "$DATA" --tasks eval $(prompting "$model")
}
for model in $MODELS; do
  for seed in $SEEDS; do
    spawn measure "$seed" "$model"
  done
done
join
