#!/usr/bin/env bash
# The main job, end to end, on two CPU cores: makes real training data, pre-trains a small OFA (ofa_nano), tunes it on
# instructions, evaluates both models on tasks that neither was trained on, once per instruction, and writes a report.
#
#   bash run_scripts/quickstart.sh
#
# Needs Python 3.11 or 3.12 and about 8 GB of disk for PyTorch, no GPU; takes about 13 minutes after installation.
# Every stage resumes: after an interruption run the same command again. Result: OUT/index.html.
#
# Environment (beside that of env.sh):
#   OUT                output directory (outputs/quickstart)
#   SCENES             scenes to draw for training (3000)
#   PRETRAIN_UPDATES   updates of pre-training (700)
#   TUNE_UPDATES       updates of instruction tuning (1900)
#   EVAL_INSTANCES     instances evaluated of each task (100)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
set_up

OUT="${OUT:-$ROOT/outputs/quickstart}"
SCENES="${SCENES:-3000}"
PRETRAIN_UPDATES="${PRETRAIN_UPDATES:-700}"
TUNE_UPDATES="${TUNE_UPDATES:-1900}"
EVAL_INSTANCES="${EVAL_INSTANCES:-100}"
PRETRAIN_TASKS=image_captioning,grounded_captioning,visual_grounding,object_grounding,open_domain_vqa,object_detection,easy_vqa

data="$OUT/data/scenes:$OUT/data/easy_vqa"
mkdir -p "$OUT"

# One process per core, in bf16 where the processor has it: three to four times as fast as one process in fp32.
export OMP_NUM_THREADS=1
launch=(torchrun --standalone --nproc-per-node 2 -m ofa_mi.cli train)
precision="$(cpu_precision)"
bf16=()
[[ "$precision" == fp32 ]] || bf16=(--bf16)

# train NAME UPDATES OPTIONS...: one fairseq-train run in OUT/NAME, skipped once it has ended, resumed if it has not.
train() {
  local name="$1" updates="$2"
  shift 2
  if [[ -f "$OUT/$name/done" ]]; then
    say "$name: already done"
    return
  fi
  mkdir -p "$OUT/$name"
  "${launch[@]}" "$data" --task multiinstruct --arch ofa_nano --cpu \
    --bpe-dir "$OUT/data/vocabulary" --patch-image-size 128 --max-image-size 128 --max-src-length 128 --max-tgt-length 64 \
    --criterion adjust_label_smoothed_cross_entropy \
    --optimizer adam --adam-betas '(0.9,0.999)' --weight-decay 0.01 --clip-norm 1.0 \
    --lr 1e-3 --lr-scheduler polynomial_decay --warmup-updates 100 --total-num-update "$updates" --max-update "$updates" \
    --batch-size 32 --num-workers 0 --mixture-temperature 2 --seed 1 --max-valid-instances-per-task 8 \
    --save-interval-updates 500 --keep-interval-updates 1 --no-epoch-checkpoints --save-dir "$OUT/$name" \
    --log-interval 50 --log-format json "${bf16[@]}" "$@" 2>&1 |
    tee -a "$OUT/$name/train.log" | progress "$updates" || die "$name stopped; see $OUT/$name/train.log, then run again"
  touch "$OUT/$name/done"
}

# progress UPDATES: one line per log entry of fairseq, e.g. "update 100 of 600, loss 2.91, 3.1 updates/s".
progress() {
  sed -u -n -E \
    -e "s/.*\| train_inner \|.*\"loss\": \"([^\"]*)\".*\"ups\": \"([^\"]*)\".*\"num_updates\": \"([^\"]*)\".*/  update \3 of $1, loss \1, \2 updates\/s/p" \
    -e 's/.*\| valid \|.*"valid_loss": "([^"]*)".*"valid_score": "([^"]*)".*/  validation: loss \1, mean score of the tasks \2/p' >&2
}

say "1 of 5: data"
ofa-mi data scenes --out "$OUT/data/scenes" --train-scenes "$SCENES" --workers 2
ofa-mi data easy-vqa --out "$OUT/data/easy_vqa"
[[ -f "$OUT/data/vocabulary/dict.txt" ]] ||
  ofa-mi vocabulary --out "$OUT/data/vocabulary" --num-bins 64 --num-codes 0 "$OUT/data/scenes" "$OUT/data/easy_vqa"

say "2 of 5: pre-training on a few tasks, one fixed instruction each"
train pretrained "$PRETRAIN_UPDATES" --tasks "$PRETRAIN_TASKS" --num-instructions 1

# Without region_area: it asks for square pixels, which location tokens, relative to the image, cannot tell.
say "3 of 5: instruction tuning on all training tasks, five instructions each"
train tuned "$TUNE_UPDATES" --tasks train --exclude-tasks region_area --finetune-from-model "$OUT/pretrained/checkpoint_last.pt"

say "4 of 5: evaluation, once per instruction"
for model in pretrained tuned; do
  ofa-mi evaluate --checkpoint "$OUT/$model/checkpoint_last.pt" --data "$data" --tasks eval easy_vqa \
    --max-instances "$EVAL_INSTANCES" --batch-size 64 --precision "$precision" --out "$OUT/evaluation/$model"
done

say "5 of 5: report"
ofa-mi report "untuned=$OUT/evaluation/pretrained" "tuned=$OUT/evaluation/tuned" --out "$OUT" \
  --title "Quickstart: a small OFA before and after instruction tuning" \
  --log "pre-training=$OUT/pretrained/train.log" --log "instruction tuning=$OUT/tuned/train.log"
say "report: $OUT/index.html"
