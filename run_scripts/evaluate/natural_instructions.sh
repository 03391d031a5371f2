#!/usr/bin/env bash
# Shows: what is left of, or gained in, following text-only instructions: ROUGE-L on held-out Natural Instructions tasks.
# Needs: the models of finetune/ and transfer/, NI_DATA.
# Costs: PROFILE=cpu: under a minute a model and seed on one core.
#
#   PROFILE=cpu bash run_scripts/evaluate/natural_instructions.sh
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

MODELS="${MODELS:-MultiInstruct NaturalInstruct MixedInstruct SeqInstruct}" # TaskName has no instruction to follow
measure() {
  local seed="$1" model="$2"
  evaluate "$seed" "$model" natural_instructions "$(checkpoint_of "$model" "$seed")" "$NI_DATA" \
    --tasks natural_instructions_test --option-markers off --max-instances "$NI_INSTANCES"
}
for model in $MODELS; do
  for seed in $SEEDS; do
    spawn measure "$seed" "$model"
  done
done
join
