#!/usr/bin/env bash
# Shows: everything: all strategies, the zero-shot tables, ablations, robustness and attention, and ends with the report.
# Needs: PROFILE=cpu: nothing. PROFILE=paper: CHECKPOINT, DATA and NI_DATA (docs/experiments.md).
# Costs: PROFILE=cpu: under an hour on two cores. PROFILE=paper: about twenty trainings of OFA-large.
#
#   PROFILE=cpu bash run_scripts/reproduce.sh
#   CHECKPOINT=ofa_large.pt DATA=… NI_DATA=… SEEDS="1 2 3" bash run_scripts/reproduce.sh
#
# Every step resumes: after an interruption run the same command again. Result: OUT/report/index.html.
source "$(dirname "${BASH_SOURCE[0]}")/experiment.sh"
experiment

scripts="$ROOT/run_scripts"
export PROFILE OUT DRY_RUN SEEDS

step() {
  say "== $1"
  bash "$scripts/$1" || die "$1 failed; run the same command again to continue"
}

# strategies SCRIPT…: each for every seed, JOBS at once.
strategies() {
  local script seed
  for script in "$@"; do
    for seed in $SEEDS; do
      spawn env SEEDS="$seed" JOBS=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-}" bash "$scripts/$script"
    done
  done
  join
}

step data/prepare.sh
[[ "$CHECKPOINT" != "$(checkpoint_of pretrained 1)" ]] || step pretrain/small.sh
say "== strategies"
strategies transfer/natural_instructions.sh
strategies finetune/multiinstruct.sh transfer/task_name.sh transfer/mixed.sh transfer/sequential.sh
step evaluate/untuned.sh
step evaluate/zero_shot.sh
step evaluate/natural_instructions.sh
step ablation/num_instructions.sh
step ablation/task_groups.sh
step evaluate/robustness.sh
step analysis/attention.sh

say "== report"
arguments=(--published --title "${TITLE:-Transfer strategies, $PROFILE profile}" --attention "$OUT/attention/attention.json")
for model in OFA TaskName MultiInstruct NaturalInstruct MixedInstruct SeqInstruct; do
  for folder in "$OUT/evaluation/$model"/seed*/*/; do
    [[ -f "$folder/scores.json" ]] && arguments+=("$model=${folder%/}")
  done
done
first="${SEEDS%% *}"
for folder in "$OUT/evaluation"/num_instructions-*/seed*/zero_shot; do
  number="${folder#"$OUT/evaluation/num_instructions-"}"
  [[ -f "$folder/scores.json" ]] && arguments+=(--ablation "num_instructions=${number%%/*}:$folder")
done
arguments+=(--ablation "num_instructions=5:$OUT/evaluation/MixedInstruct/seed$first/zero_shot")
labels=("image understanding" "+ grounding" "+ matching, miscellaneous" "+ relationship" "+ region")
for number in 1 2 3 4 5; do
  for folder in "$OUT/evaluation/task_groups-$number"/seed*/zero_shot; do
    [[ -f "$folder/scores.json" ]] && arguments+=(--ablation "task_groups=${labels[$((number - 1))]}:$folder")
  done
done
arguments+=(--ablation "task_groups=+ text-only:$OUT/evaluation/MixedInstruct/seed$first/zero_shot")
for model in pretrained MultiInstruct MixedInstruct; do
  [[ -f "$OUT/checkpoints/$model/seed$first/train.log" ]] && arguments+=(--log "$model=$OUT/checkpoints/$model/seed$first/train.log")
done
run ofa-mi report "${arguments[@]}" --out "$OUT/report"
say "report: $OUT/report/index.html"
