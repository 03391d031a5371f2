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
# Environment (beside that of env.sh):
#   OUT                output directory (outputs/quickstart)
#   SCENES             scenes to draw for training (3000)
#   TUNE_UPDATES       updates of instruction tuning, of 128 instances (600)
#   EVAL_INSTANCES     instances evaluated of each task (100)
#   FROM_SCRATCH       1: pre-train a model first instead of taking the one that is shipped
#   PRETRAIN_UPDATES   updates of that pre-training (5000)
#   PRETRAIN_SCENES    scenes to draw for it (40000)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
set_up

OUT="${OUT:-$ROOT/outputs/quickstart}"
SCENES="${SCENES:-3000}"
TUNE_UPDATES="${TUNE_UPDATES:-600}"
EVAL_INSTANCES="${EVAL_INSTANCES:-100}"
FROM_SCRATCH="${FROM_SCRATCH:-0}"
PRETRAIN_UPDATES="${PRETRAIN_UPDATES:-5000}"
PRETRAIN_SCENES="${PRETRAIN_SCENES:-40000}"

data="$OUT/data/scenes:$OUT/data/easy_vqa"
start=nano
mkdir -p "$OUT"

# One process per core, in bf16 where the processor has it.
export OMP_NUM_THREADS=1
precision="$(cpu_precision)"
bf16=()
[[ "$precision" == fp32 ]] || bf16=(--bf16)

# train NAME DATA UPDATES OPTIONS...: one training in OUT/NAME, skipped once it has ended, resumed if it has not.
train() {
  local name="$1" data="$2" updates="$3"
  shift 3
  if [[ -f "$OUT/$name/done" ]]; then
    say "$name: already done"
    return
  fi
  mkdir -p "$OUT/$name"
  torchrun --standalone --nproc-per-node 2 -m ofa_mi.cli train "$data" --task multiinstruct --arch ofa_nano --cpu \
    --patch-image-size 128 --max-image-size 128 --max-src-length 160 --max-tgt-length 64 \
    --criterion adjust_label_smoothed_cross_entropy \
    --optimizer adam --adam-betas '(0.9,0.98)' --weight-decay 0.01 --clip-norm 1.0 \
    --lr-scheduler linear_decay --warmup-ratio 0.05 --max-update "$updates" \
    --batch-size 64 --num-workers 0 --mixture-temperature 2 --seed 1 --max-valid-instances-per-task 8 \
    --save-interval-updates 200 --keep-interval-updates 1 --no-epoch-checkpoints --save-dir "$OUT/$name" \
    --log-interval 25 --log-format json "${bf16[@]}" "$@" 2>&1 |
    tee -a "$OUT/$name/train.log" | progress "$updates" ||
    die "$name stopped: $(last_error "$OUT/$name/train.log") ($OUT/$name/train.log); run the same command again to continue"
  touch "$OUT/$name/done"
}

# progress UPDATES: one line per log entry of fairseq, e.g. "update 100 of 600, loss 2.91, 3.1 updates/s".
progress() {
  sed -u -n -E \
    -e "s/.*\| train_inner \|.*\"loss\": \"([^\"]*)\".*\"ups\": \"([^\"]*)\".*\"num_updates\": \"([^\"]*)\".*/  update \3 of $1, loss \1, \2 updates\/s/p" \
    -e 's/.*\| valid \|.*"valid_loss": "([^"]*)".*"valid_score": "([^"]*)".*/  validation: loss \1, mean score of the tasks \2/p' >&2
}

# evaluate NAME CHECKPOINT: the held-out tasks and easy-VQA, once per instruction, shared by two processes.
evaluate() {
  local part parts=()
  if [[ -f "$OUT/evaluation/$1/scores.json" ]]; then
    say "$1: already evaluated"
    return
  fi
  say "$1: evaluating"
  for part in 0 1; do
    ofa-mi evaluate --checkpoint "$2" --data "$data" --tasks eval easy_vqa --max-instances "$EVAL_INSTANCES" --batch-size 64 \
      --beam 2 --max-len 24 --precision "$precision" --device cpu --shard "$part/2" --out "$OUT/evaluation/$1" \
      > "$OUT/evaluation.$1.$part.log" 2>&1 &
    parts+=($!)
  done
  for part in 0 1; do
    wait "${parts[$part]}" || die "the evaluation of $1 stopped: $(last_error "$OUT/evaluation.$1.$part.log")"
  done
}

say "1 of 4: data"
ofa-mi data scenes --out "$OUT/data/scenes" --train-scenes "$SCENES" --side 128 --smallest-side 26 --workers 2
ofa-mi data easy-vqa --out "$OUT/data/easy_vqa"

if [[ "$FROM_SCRATCH" == 1 ]]; then
  say "2 of 4: pre-training, one fixed instruction a task (about an hour)"
  start="$OUT/pretrained/checkpoint_last.pt"
  [[ -f "$OUT/data/vocabulary/dict.txt" ]] ||
    ofa-mi vocabulary --out "$OUT/data/vocabulary" --num-bins 64 --num-codes 0 "$OUT/data/scenes" "$OUT/data/easy_vqa"
  ofa-mi data scenes --out "$OUT/data/pretraining" --train-scenes "$PRETRAIN_SCENES" --valid-scenes 300 --test-scenes 1 --train-per-task 80000 \
    --side 128 --smallest-side 26 --workers 2 --per-scene 2 --seed 7 --tasks group:pretraining image_captioning grounded_captioning \
    visual_grounding grounded_object_identification object_grounding open_domain_vqa object_detection
  train pretrained "$OUT/data/pretraining:$OUT/data/easy_vqa" "$PRETRAIN_UPDATES" --lr 1.5e-3 --num-instructions 1 \
    --tasks group:pretraining,image_captioning,grounded_captioning,visual_grounding,grounded_object_identification,object_grounding,open_domain_vqa,object_detection,easy_vqa \
    --task-shares group:pretraining=0.6,image_captioning=0.08,easy_vqa=0.04 --bpe-dir "$OUT/data/vocabulary"
fi

# Without region_area: it asks for square pixels, which location tokens, relative to the image, cannot tell.
say "2 of 4: instruction tuning on all training tasks, five instructions each"
train tuned "$data" "$TUNE_UPDATES" --lr 7e-4 --tasks train --exclude-tasks region_area --finetune-from-model "$start"

say "3 of 4: evaluation, once per instruction"
evaluate untuned "$start"
evaluate tuned "$OUT/tuned/checkpoint_last.pt"

say "4 of 4: report"
ofa-mi report "untuned=$OUT/evaluation/untuned" "tuned=$OUT/evaluation/tuned" --out "$OUT" \
  --title "Quickstart: a small OFA before and after instruction tuning" --log "instruction tuning=$OUT/tuned/train.log"
say "report: $OUT/index.html"
