#!/usr/bin/env bash
# Shows: what each tuned model makes of text-only instructions: ROUGE-L on the held-out tasks of Natural Instructions.
# Needs: the models of finetune/ and transfer/ (or those that MODELS names), NI_DATA.
# Costs: PROFILE=cpu: 20 seconds a model and seed on one core.
#
#   PROFILE=cpu bash run_scripts/evaluate/natural_instructions.sh
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

read -ra models <<< "${MODELS:-MultiInstruct NaturalInstruct MixedInstruct SeqInstruct}" # TaskName knows no instructions
check_models "${models[@]}"
for model in "${models[@]}"; do
  for seed in $SEEDS; do
    spawn natural_instructions "$seed" "$model" "$(checkpoint_of "$model" "$seed")"
  done
done
join
