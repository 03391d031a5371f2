#!/usr/bin/env bash
# Shows: the paper's main tables: every evaluation task once per instruction, for every tuned model.
# Needs: the models of finetune/ and transfer/ (or those that MODELS names), DATA.
# Costs: PROFILE=cpu: half a minute a model and seed on one core.
#
#   PROFILE=cpu bash run_scripts/evaluate/zero_shot.sh
#   MODELS="MultiInstruct MixedInstruct" bash run_scripts/evaluate/zero_shot.sh
#
# Each is prompted as it was trained: TaskName by task names, NaturalInstruct without option markers.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

read -ra models <<< "${MODELS:-$STRATEGIES}"
check_models "${models[@]}"
for model in "${models[@]}"; do
  read -ra prompting <<< "$(prompting "$model")"
  for seed in $SEEDS; do
    spawn zero_shot "$seed" "$model" "$(checkpoint_of "$model" "$seed")" "${prompting[@]}"
  done
done
join
