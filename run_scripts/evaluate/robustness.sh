#!/usr/bin/env bash
# Shows: what a score rests on: the image (none, or another one's), the options alone, their order, and the wording of the
# instructions (typing errors, a second set of instructions, another task's; upper case for a model that reads it).
# Needs: the models that MODELS names (MultiInstruct), DATA.
# Costs: as evaluate/zero_shot.sh for each of CONDITIONS (seven), models and seeds; by default one model, the first seed.
#
#   PROFILE=cpu bash run_scripts/evaluate/robustness.sh
#   MODELS="MultiInstruct MixedInstruct" ROBUSTNESS_SEEDS="1 2 3" bash run_scripts/evaluate/robustness.sh
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

declare -A OPTIONS=(
  [no_image]="--image none"
  [other_image]="--image shuffled"
  [options_only]="--prompt-style options-only --image none"
  [option_order]="--perturb option-order"
  [typos]="--perturb typos"
  [upper_case]="--perturb upper-case"
  [paraphrase]="--perturb paraphrase"
  [other_task]="--perturb other-task"
)
# Without upper_case: a model reads all text in lower case unless it was tuned with --text-case keep, so that upper case
# changes nothing, and an evaluation under it is refused.
CONDITIONS="${CONDITIONS:-no_image other_image options_only option_order typos paraphrase other_task}"
for condition in $CONDITIONS; do
  [[ -n "${OPTIONS[$condition]:-}" ]] || die "CONDITIONS: $condition is none of ${!OPTIONS[*]}"
done
read -ra models <<< "${MODELS:-MultiInstruct}"
check_models "${models[@]}"
for model in "${models[@]}"; do
  for condition in $CONDITIONS; do
    read -ra options <<< "${OPTIONS[$condition]}"
    for seed in ${ROBUSTNESS_SEEDS:-${SEEDS%% *}}; do
      spawn evaluate "$seed" "$model" "$condition" "$(checkpoint_of "$model" "$seed")" "$DATA" --tasks eval "${options[@]}"
    done
  done
done
join
