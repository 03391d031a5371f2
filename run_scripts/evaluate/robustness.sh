#!/usr/bin/env bash
# Shows: what a score rests on: the image (none, another one's), the options alone, their order, typing errors and other
# wordings of the instructions.
# Needs: the models of finetune/ and transfer/, DATA.
# Costs: as six times evaluate/zero_shot.sh for each model; by default one model and one seed.
#
#   PROFILE=cpu bash run_scripts/evaluate/robustness.sh
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

MODELS="${MODELS:-MultiInstruct}"
seed="${SEEDS%% *}"
condition() {
  local model="$1" name="$2"
  shift 2
  evaluate "$seed" "$model" "$name" "$(checkpoint_of "$model" "$seed")" "$DATA" --tasks eval "$@"
}
for model in $MODELS; do
  spawn condition "$model" blind --image none
  spawn condition "$model" other_image --image shuffled
  spawn condition "$model" options_only --prompt-style options-only --image none
  spawn condition "$model" option_order --perturb option-order
  spawn condition "$model" typos --perturb typos
  spawn condition "$model" paraphrase --perturb paraphrase
done
join
