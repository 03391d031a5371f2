#!/usr/bin/env bash
# The main job, end to end, on two CPU cores: makes real training data, pre-trains a small OFA (ofa_nano), tunes it on
# instructions, evaluates both models on tasks that neither was trained on, once per instruction, and writes a report.
#
#   bash run_scripts/quickstart.sh
#
# Needs Python 3.11 or 3.12 and about 8 GB of disk for PyTorch, no GPU; takes about 15 minutes after installation.
# Every stage resumes: after an interruption run the same command again. Result: OUT/report.html.
#
# Environment (beside that of env.sh):
#   OUT                 output directory (outputs/quickstart)
#   SCENES              training scenes to draw (4000)
#   PRETRAIN_UPDATES    updates of pre-training
#   TUNE_UPDATES        updates of instruction tuning
#   EVAL_INSTANCES      instances evaluated of each task
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
set_up

OUT="${OUT:-$ROOT/outputs/quickstart}"
SCENES="${SCENES:-4000}"
PRETRAIN_UPDATES="${PRETRAIN_UPDATES:-1200}"
TUNE_UPDATES="${TUNE_UPDATES:-1800}"
EVAL_INSTANCES="${EVAL_INSTANCES:-60}"
PRETRAIN_TASKS=image_captioning,grounded_captioning,visual_grounding,object_grounding,open_domain_vqa,easy_vqa

data="$OUT/data/scenes:$OUT/data/easy_vqa"
mkdir -p "$OUT"

# train NAME ARGUMENTS...: a fairseq-train run in OUT/NAME that resumes, and is skipped once it has ended.
train() {
  local name="$1"
  shift
  if [[ -f "$OUT/$name/done" ]]; then
    say "$name: already done"
    return
  fi
  fairseq-train "$data" --user-dir "$ROOT/ofa_mi" --task multiinstruct --arch ofa_nano \
    --bpe-dir "$OUT/data/vocabulary" --patch-image-size 96 --max-src-length 128 --max-tgt-length 64 \
    --criterion adjust_label_smoothed_cross_entropy --label-smoothing 0.1 \
    --optimizer adam --adam-betas '(0.9,0.999)' --adam-eps 1e-8 --weight-decay 0.01 --clip-norm 1.0 \
    --lr-scheduler polynomial_decay --batch-size 64 --num-workers 1 --seed 1 \
    --max-valid-instances-per-task 8 --validate-interval 1000 --save-interval 1000 --save-interval-updates 300 \
    --keep-interval-updates 1 --no-epoch-checkpoints \
    --log-interval 50 --log-format json --log-file "$OUT/$name.jsonl" \
    --save-dir "$OUT/$name" "$@"
  touch "$OUT/$name/done"
}

say "stage 1 of 5: data"
ofa-mi data scenes --out "$OUT/data/scenes" --train-scenes "$SCENES" --seed 1 --workers 2
ofa-mi data easy-vqa --out "$OUT/data/easy_vqa"
ofa-mi vocabulary --out "$OUT/data/vocabulary" "$OUT/data/scenes" "$OUT/data/easy_vqa"

say "stage 2 of 5: pre-training, one fixed instruction for each of a few tasks"
train pretrained --tasks "$PRETRAIN_TASKS" --num-instructions 1 \
  --lr 1e-3 --warmup-updates 100 --total-num-update "$PRETRAIN_UPDATES" --max-update "$PRETRAIN_UPDATES"

say "stage 3 of 5: instruction tuning, all training tasks with five instructions each"
train tuned --tasks train --finetune-from-model "$OUT/pretrained/checkpoint_last.pt" \
  --lr 1e-3 --warmup-updates 100 --total-num-update "$TUNE_UPDATES" --max-update "$TUNE_UPDATES"

say "stage 4 of 5: evaluation, once per instruction"
for model in pretrained tuned; do
  ofa-mi evaluate --checkpoint "$OUT/$model/checkpoint_last.pt" --data "$OUT/data/scenes:$OUT/data/easy_vqa" \
    --tasks eval,easy_vqa --max-instances "$EVAL_INSTANCES" --out "$OUT/evaluation/$model"
done

say "stage 5 of 5: report"
ofa-mi report "$OUT/evaluation/pretrained" "$OUT/evaluation/tuned" --out "$OUT"
say "the report is $OUT/report.html"
