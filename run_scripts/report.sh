#!/usr/bin/env bash
# Shows: what all other scripts have made, in one page: the paper's tables with error bars over seeds and the published rows
# beside, ablation curves, robustness, attention by layer, and examples.
# Needs: the runs of evaluate/untuned.sh and evaluate/zero_shot.sh; of what else there is in OUT nothing is left out.
# Costs: seconds.
#
#   PROFILE=cpu bash run_scripts/report.sh
#
# Result: OUT/report/index.html, report.md and report.csv.
source "$(dirname "${BASH_SOURCE[0]}")/experiment.sh"
experiment

arguments=(--published --title "${TITLE:-Transfer strategies, PROFILE=$PROFILE}")

# add OPTION VALUE FOLDER-OR-FILE: hand it to the report where it has been made.
add() {
  [[ -e "$3" ]] || return 0
  [[ -z "$1" ]] || arguments+=("$1")
  arguments+=("$2$3")
}

read -ra models <<< "OFA $STRATEGIES"
for model in "${models[@]}"; do
  for scores in "$OUT/evaluation/$model"/seed*/*/scores.json; do
    add "" "$model=" "${scores%/scores.json}"
  done
done
for folder in "$OUT/evaluation"/num_instructions-*/seed*/zero_shot; do
  number="${folder#"$OUT/evaluation/num_instructions-"}"
  add --ablation "num_instructions=${number%%/*}:" "$folder"
done
for folder in "$OUT/evaluation/MixedInstruct"/seed*/zero_shot; do
  add --ablation "num_instructions=5:" "$folder"
done
for curve in presentations instructions; do
  while read -r number; do # in the order of the numbers
    for folder in "$OUT/evaluation/$curve-$number"/seed*; do
      add --ablation "$curve=$number:" "$folder/zero_shot"
      add --ablation "$curve, trained tasks=$number:" "$folder/trained"
    done
  done < <(find "$OUT/evaluation" -maxdepth 1 -name "$curve-*" 2> /dev/null | sed "s/.*$curve-//" | sort -n)
done
for label in "image understanding:task_groups-1" "+ grounding:task_groups-2" "+ matching, miscellaneous:task_groups-3" \
  "+ relationship:task_groups-4" "+ region:MultiInstruct" "+ text-only:MixedInstruct"; do
  for folder in "$OUT/evaluation/${label#*:}"/seed*/zero_shot; do
    add --ablation "task_groups=${label%%:*}:" "$folder"
  done
done
add --attention "" "$OUT/attention/attention.json"
for model in pretrained "${models[@]}"; do
  for log in "$OUT/checkpoints/$model"/seed*/train.log; do
    add --log "$model=" "$log"
  done
done
((${#arguments[@]} > 3)) || [[ "$DRY_RUN" == 1 ]] || die "there is nothing below $OUT to report"
run ofa-mi report "${arguments[@]}" --out "$OUT/report"
say "report: $OUT/report/index.html"
