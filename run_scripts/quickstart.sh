#!/usr/bin/env bash
# The main job, end to end, on two CPU cores: makes data, tunes the small pre-trained OFA that comes with the package
# (ofa_nano) on instructions, evaluates it before and after on tasks that it was never trained on, once per instruction,
# and writes a report.
#
#   bash run_scripts/quickstart.sh
#
# Needs Python 3.11 or 3.12 and about 8 GB of disk for PyTorch, no GPU; takes about 10 minutes after installation.
# Every stage resumes: after an interruption run the same command again. Result: OUT/index.html.
#
# Environment (beside that of env.sh; DRY_RUN=1 prints the commands, and profiles/quickstart.sh has more values):
#   OUT                output directory (outputs/quickstart)
#   SCENES             scenes to draw for training (3000)
#   TUNE_UPDATES       updates of instruction tuning, of 128 instances (600)
#   EVAL_INSTANCES     instances evaluated of each task (100)
#   FROM_SCRATCH       1: pre-train a model first instead of taking the one that is shipped
#   PRETRAIN_UPDATES   updates of that pre-training (10500)
#   PRETRAIN_SCENES    scenes to draw for it (60000)
source "$(dirname "${BASH_SOURCE[0]}")/experiment.sh"
PROFILE=quickstart
experiment

FROM_SCRATCH="${FROM_SCRATCH:-0}"
PRETRAIN_SCENES="${PRETRAIN_SCENES:-60000}"

# tune NAME START DATA OPTIONS…: a training into OUT/NAME.
tune() { train_into "$OUT/$1" "$1" "done" 1 "$@" --adam-betas '(0.9,0.98)'; }

# test_model NAME CHECKPOINT: the held-out tasks and easy-VQA, once per instruction, into OUT/evaluation/NAME.
test_model() { evaluate_into "$OUT/evaluation/$1" "$1" "$1" "" "$2" "$DATA" --tasks $EVAL_TASKS; }

say "1 of 4: data"
run ofa-mi data scenes --out "$OUT/data/scenes" --train-scenes "$SCENES" --side 128 --smallest-side 26 --workers 2
run ofa-mi data easy-vqa --out "$OUT/data/easy_vqa"

if [[ "$FROM_SCRATCH" == 1 ]]; then
  say "2 of 4: pre-training, one fixed instruction a task (two hours)"
  source "$ROOT/run_scripts/pretrain/curriculum.sh"
  BPE=(--bpe-dir "$OUT/data/vocabulary")
  [[ -f "$OUT/data/vocabulary/dict.txt" ]] ||
    run ofa-mi vocabulary --out "$OUT/data/vocabulary" --num-bins 64 --num-codes 0 "$OUT/data/scenes" "$OUT/data/easy_vqa"
  run ofa-mi data scenes --out "$OUT/data/pretraining" --train-scenes "$PRETRAIN_SCENES" --valid-scenes 300 --test-scenes 1 --train-per-task 80000 \
    --side 128 --smallest-side 26 --workers 2 --seed 7 --tasks group:pretraining image_captioning grounded_captioning visual_grounding \
    grounded_object_identification object_grounding open_domain_vqa compositional_vqa object_detection counting
  stage() { LR=1.2e-3 MAX_TGT_LENGTH=96 tune "$1" "$2" "$OUT/data/pretraining:$OUT/data/easy_vqa" "${@:3}"; }
  made() { printf '%s' "$OUT/$1/checkpoint_last.pt"; }
  curriculum
  BPE=()
  CHECKPOINT="$OUT/pretrained/checkpoint_last.pt"
fi

say "2 of 4: instruction tuning on all training tasks, five instructions each"
tune tuned "$CHECKPOINT" "$DATA" --tasks train --exclude-tasks "$EXCLUDE_TASKS"

say "3 of 4: evaluation, once per instruction"
test_model untuned "$CHECKPOINT"
test_model tuned "$OUT/tuned/checkpoint_last.pt"

say "4 of 4: report"
run ofa-mi report "untuned=$OUT/evaluation/untuned" "tuned=$OUT/evaluation/tuned" --out "$OUT" \
  --title "Quickstart: a small OFA before and after instruction tuning" --log "instruction tuning=$OUT/tuned/train.log"
say "report: $OUT/index.html"
