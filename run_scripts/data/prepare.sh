#!/usr/bin/env bash
# Shows: nothing; sees to it that every other script has its data and its vocabulary.
# Needs: PROFILE=cpu: nothing that the repository does not make itself (the questions of easy-VQA are a package).
# Costs: PROFILE=cpu: a minute and a half on two cores. PROFILE=paper: seconds; it only looks.
#
#   PROFILE=cpu bash run_scripts/data/prepare.sh
#
# With PROFILE=cpu, scenes of coloured shapes and easy-VQA stand in for MultiInstruct, generated text tasks for Natural
# Instructions. Other directories that DATA or NI_DATA name are never made here: `ofa-mi data build` and `ofa-mi data
# natural-instructions` do that (docs/experiments.md).
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

if [[ ":$DATA:" == *":$OUT/data/scenes:"* ]]; then
  [[ "$SCENES" =~ ^[1-9][0-9]*$ ]] || die "SCENES=$SCENES: must be a whole number from 1"
  run ofa-mi data scenes --out "$OUT/data/scenes" --train-scenes "$SCENES" --train-per-task "$SCENES" --side 128 --smallest-side 26 --workers 2
fi
if [[ ":$DATA:" == *":$OUT/data/easy_vqa:"* ]]; then
  run ofa-mi data easy-vqa --out "$OUT/data/easy_vqa"
fi
if [[ "$NI_DATA" == "$OUT/data/text" ]]; then
  run ofa-mi data text-tasks --out "$OUT/data/text_tasks" --instances "$TEXT_INSTANCES"
  run ofa-mi data natural-instructions --raw "$OUT/data/text_tasks" --out "$NI_DATA" --max-per-task 0 \
    --valid-fraction 0.05
fi
for split in train test; do
  need_data "$DATA:$NI_DATA" "$split"
done
if [[ "$BPE_DIR" == "$OUT/data/vocabulary" && ! -f "$BPE_DIR/dict.txt" ]]; then
  IFS=: read -ra directories <<< "$DATA:$NI_DATA"
  # No more location bins than fit the pixels, and no image codes, which only making images needs.
  run ofa-mi vocabulary --out "$BPE_DIR" --num-bins 64 --num-codes 0 "${directories[@]}"
fi
[[ -z "$BPE_DIR" ]] || need "$BPE_DIR/dict.txt" "set BPE_DIR to the vocabulary of the checkpoint"
