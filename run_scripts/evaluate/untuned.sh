#!/usr/bin/env bash
# Shows: what the model knows before any instruction tuning ("OFA" in the paper's tables).
# Needs: CHECKPOINT, DATA, NI_DATA.
# Costs: as one model of evaluate/zero_shot.sh.
#
#   PROFILE=cpu bash run_scripts/evaluate/untuned.sh
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

spawn evaluate 1 OFA zero_shot "$CHECKPOINT" "$DATA" --tasks eval
spawn evaluate 1 OFA natural_instructions "$CHECKPOINT" "$NI_DATA" \
  --tasks natural_instructions_test --option-markers off --max-instances "$NI_INSTANCES"
join
