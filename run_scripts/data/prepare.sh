#!/usr/bin/env bash
# Shows: nothing; makes the data and the vocabulary of PROFILE=cpu, so that every other script has what it needs.
# Needs: nothing that the repository does not make itself (the questions of easy-VQA are a package).
# Costs: 1.5 minutes on two cores.
#
#   PROFILE=cpu bash run_scripts/data/prepare.sh
#
# Scenes of coloured shapes and easy-VQA stand in for MultiInstruct, generated text tasks for Natural Instructions. With
# DATA and NI_DATA set, or PROFILE=paper, there is nothing to make: `ofa-mi data build` and `ofa-mi data
# natural-instructions` have made the directories (docs/build.md), and a missing one is an error.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

if [[ "$PROFILE" == cpu && "$DATA" == "$OUT/data/scenes:$OUT/data/easy_vqa" ]]; then
  run ofa-mi data scenes --out "$OUT/data/scenes" --train-scenes "$SCENES" --workers 2
  run ofa-mi data easy-vqa --out "$OUT/data/easy_vqa"
fi
if [[ "$PROFILE" == cpu && "$NI_DATA" == "$OUT/data/text" ]]; then
  run ofa-mi data text-tasks --out "$OUT/data/text_tasks"
  run ofa-mi data natural-instructions --raw "$OUT/data/text_tasks" --out "$NI_DATA"
fi
if [[ "$BPE_DIR" == "$OUT/data/vocabulary" && ! -f "$BPE_DIR/dict.txt" ]]; then
  run ofa-mi vocabulary --out "$BPE_DIR" ${DATA//:/ } "$NI_DATA"
fi
if [[ "$DRY_RUN" != 1 ]]; then
  for directory in ${DATA//:/ } "$NI_DATA"; do
    [[ -d "$directory" ]] || die "$directory: no such data directory; set DATA and NI_DATA (docs/build.md), or PROFILE=cpu"
  done
fi
