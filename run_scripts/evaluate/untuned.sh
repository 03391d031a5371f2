#!/usr/bin/env bash
# Shows: what the model knows before any instruction tuning ("OFA" in the paper's tables).
# Needs: CHECKPOINT, DATA, NI_DATA.
# Costs: as one model of evaluate/zero_shot.sh. There is one such model, so there is one seed.
#
#   PROFILE=cpu bash run_scripts/evaluate/untuned.sh
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

spawn zero_shot 1 OFA "$CHECKPOINT"
spawn natural_instructions 1 OFA "$CHECKPOINT"
join
