#!/usr/bin/env bash
# Shows: how trained and zero-shot tasks gain with the instructions of each training task: its five, and generated ones beyond.
# Needs: CHECKPOINT, DATA.
# Costs: for each of INSTRUCTION_CURVE and ABLATION_SEEDS as finetune/multiinstruct.sh, and two evaluations; minutes to write 500 a task.
#
#   PROFILE=cpu INSTRUCTION_CURVE="5 100" bash run_scripts/beyond/instructions.sh
#
# A point with more instructions has all those of a point with fewer. Evaluations always ask with the five.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

[[ "$INSTRUCTION_CURVE" =~ ^[1-9][0-9]*(\ [1-9][0-9]*)*$ ]] ||
  die "INSTRUCTION_CURVE=$INSTRUCTION_CURVE: must be whole numbers from 1 with a space between them"
point() {
  local seed="$1" count="$2" name="instructions-$2" EXTRA_INSTRUCTIONS="" fewer=()
  if ((count > 5)); then EXTRA_INSTRUCTIONS="$OUT/instructions/$count/instructions.jsonl"; else fewer=(--num-instructions "$count"); fi
  train "$seed" "$name" "$CHECKPOINT" "$DATA" --tasks train --exclude-tasks "$EXCLUDE_TASKS" "${fewer[@]}"
  zero_shot "$seed" "$name" "$(checkpoint_of "$name" "$seed")"
  trained_tasks "$seed" "$name" "$(checkpoint_of "$name" "$seed")"
}
for count in $INSTRUCTION_CURVE; do
  if ((count > 5)) && [[ ! -e "$OUT/instructions/$count/manifest.json" ]]; then # the last file that is written
    run ofa-mi instructions augment --per-task "$((count - 5))" --out "$OUT/instructions/$count"
  fi
  for seed in $ABLATION_SEEDS; do
    spawn point "$seed" "$count"
  done
done
join
