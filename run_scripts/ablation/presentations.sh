#!/usr/bin/env bash
# Shows: how trained and zero-shot tasks gain with the instances seen in instruction tuning, each point a training of its own.
# Needs: CHECKPOINT, DATA.
# Costs: for each of PRESENTATIONS and ABLATION_SEEDS that many instances, and two evaluations. PROFILE=cpu: 40 minutes a seed on two cores.
#
#   PROFILE=cpu PRESENTATIONS="5000 20000 80000" bash run_scripts/ablation/presentations.sh
#
# Numbers of instances, rounded down to whole updates; take steps of equal ratio, so that the curve's axis is logarithmic.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

[[ "$PRESENTATIONS" =~ ^[1-9][0-9]*(\ [1-9][0-9]*)*$ ]] ||
  die "PRESENTATIONS=$PRESENTATIONS: must be whole numbers from 1 with a space between them"
point() {
  local seed="$1" count="$2" name="presentations-$2" MAX_EPOCH=0 MAX_UPDATE
  MAX_UPDATE=$((count / (BATCH_SIZE * PROCESSES * UPDATE_FREQ)))
  ((MAX_UPDATE > 0)) || die "PRESENTATIONS: $count instances are no update of $((BATCH_SIZE * PROCESSES * UPDATE_FREQ))"
  train "$seed" "$name" "$CHECKPOINT" "$DATA" --tasks train --exclude-tasks "$EXCLUDE_TASKS"
  zero_shot "$seed" "$name" "$(checkpoint_of "$name" "$seed")"
  trained_tasks "$seed" "$name" "$(checkpoint_of "$name" "$seed")"
}
for count in $PRESENTATIONS; do
  for seed in $ABLATION_SEEDS; do
    spawn point "$seed" "$count"
  done
done
join
