#!/usr/bin/env bash
# Shows: what text-only instructions alone do to a multimodal model ("NaturalInstruct").
# Needs: CHECKPOINT, NI_DATA.
# Costs: as finetune/multiinstruct.sh, or less: there are no images.
#
#   PROFILE=cpu bash run_scripts/transfer/natural_instructions.sh
#
# It never sees an option marker, so it is evaluated without them (evaluate/zero_shot.sh).
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

tune() { train "$1" NaturalInstruct "$CHECKPOINT" "$NI_DATA" --tasks natural_instructions; }
for_each_seed tune
