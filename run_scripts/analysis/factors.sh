#!/usr/bin/env bash
# Shows: what each part of ofa_nano and of its training is worth: one factor changed at a time, from scratch, several seeds.
# Needs: nothing; draws FACTOR_SCENES scenes.
# Costs: 15 trainings a seed of FACTOR_UPDATES updates of 128 instances: on two cores 3 to 8 minutes each, 4 hours with three seeds.
#
#   bash run_scripts/analysis/factors.sh
#   FACTORS="base no_sines" SEEDS=1 bash run_scripts/analysis/factors.sh
#
# Every training sees equally many instances of the same tasks; what is measured are regions, captions and boxes of scenes
# that were not trained on. Result: OUT/report (scores) and OUT/costs.csv (seconds of every training).
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
OUT="${OUT:-$ROOT/outputs/factors}"
PROFILE=cpu
: "${JOBS:=1}" "${CPU_PROCESSES:=2}" "${BATCH_SIZE:=64}" "${GLOBAL_BATCH:=128}" "${LR:=1.5e-3}" "${WARMUP_RATIO:=0.04}"
: "${FACTOR_UPDATES:=600}" "${FACTOR_SCENES:=20000}" "${EVAL_INSTANCES:=300}" "${EVAL_BEAM:=1}" "${EVAL_MAX_LEN:=64}"
LABEL_SMOOTHING=0
[[ "$FACTOR_UPDATES" =~ ^[1-9][0-9]*$ && "$FACTOR_SCENES" =~ ^[1-9][0-9]*$ ]] ||
  die "FACTOR_UPDATES=$FACTOR_UPDATES and FACTOR_SCENES=$FACTOR_SCENES: must be whole numbers from 1"
MAX_UPDATE="$FACTOR_UPDATES"
experiment

DENSE="dense_detection,dense_captioning,dense_grounding"
SHORT="grounded_object_identification,visual_grounding,object_recognition,object_detection,open_domain_vqa"
MEASURED="dense_captioning dense_detection dense_grounding image_captioning grounded_object_identification visual_grounding"
DATA="$OUT/data/scenes"

# Options that are given last win: each factor names only what differs from `base`.
declare -A OPTIONS=(
  [base]=""
  [resnet_tower]="--resnet-type resnet_nano"
  [pixels_96]="--patch-image-size 96 --max-image-size 96"
  [pixels_160]="--patch-image-size 160 --max-image-size 160 --image-bucket-size 10"
  [no_positions_in_content]="--no-entangle-position-embedding --disable-entangle"
  [bins_16]="--bpe-dir $OUT/vocabulary/16"
  [bins_1000]="--bpe-dir $OUT/vocabulary/1000"
  [no_sines]="--no-sinusoidal-init"
  [init_std_0.02]="--init-std 0.02"
  [batch_64]="--max-update $((2 * FACTOR_UPDATES))"
  [batch_256]="--max-update $((FACTOR_UPDATES / 2))"
  [lr_5e-4]="--lr 5e-4"
  [lr_4e-3]="--lr 4e-3"
  [short_answers_only]="--tasks $SHORT,image_captioning --task-shares image_captioning=0.1"
  [dense_answers_only]="--tasks $DENSE,image_captioning,grounded_object_identification,visual_grounding --task-shares image_captioning=0.1,visual_grounding=0.05,grounded_object_identification=0.05"
)
FACTORS="${FACTORS:-base resnet_tower pixels_96 pixels_160 no_positions_in_content bins_16 bins_1000 no_sines init_std_0.02 batch_64 batch_256 lr_5e-4 lr_4e-3 short_answers_only dense_answers_only}"
for factor in $FACTORS; do
  [[ -v OPTIONS[$factor] ]] || die "FACTORS: $factor is none of ${!OPTIONS[*]}"
done

IFS=, read -ra tasks <<< "$DENSE,$SHORT,image_captioning"
run ofa-mi data scenes --out "$DATA" --train-scenes "$FACTOR_SCENES" --valid-scenes 800 --test-scenes 1 --train-per-task "$FACTOR_SCENES" \
  --valid-per-task "$EVAL_INSTANCES" --side 128 --smallest-side 26 --workers 2 --tasks "${tasks[@]}"
for bins in 16 64 1000; do
  [[ -f "$OUT/vocabulary/$bins/dict.txt" ]] ||
    run ofa-mi vocabulary --out "$OUT/vocabulary/$bins" --num-bins "$bins" --num-codes 0 "$DATA"
done

point() {
  local seed="$1" factor="$2" options started="$SECONDS"
  local folder="$OUT/checkpoints/$factor/seed$seed" BATCH_SIZE="$BATCH_SIZE" UPDATE_FREQ="$UPDATE_FREQ"
  case "$factor" in
    batch_64) BATCH_SIZE=$((BATCH_SIZE / 2)) ;;
    batch_256) UPDATE_FREQ=$((UPDATE_FREQ * 2)) ;;
  esac
  read -ra options <<< "${OPTIONS[$factor]}"
  local finished_before=0
  [[ ! -f "$folder/done" ]] || finished_before=1
  train "$seed" "$factor" "" "$DATA" --num-instructions 1 --tasks "$DENSE,$SHORT,image_captioning" --adam-betas '(0.9,0.98)' \
    --task-shares "dense_detection=0.2,dense_captioning=0.2,dense_grounding=0.2,image_captioning=0.1" --store-ema --ema-decay 0.99 \
    --bpe-dir "$OUT/vocabulary/64" "${options[@]}"
  [[ "$finished_before$DRY_RUN" != 00 ]] || echo "$factor,$seed,$((SECONDS - started))" >> "$OUT/costs.csv"
  measure "$seed" "$factor"
}

# measure SEED NAME OPTIONS…: the model's answers about scenes that it was not trained on.
measure() {
  local measured
  read -ra measured <<< "$MEASURED"
  evaluate "$1" "$2" held_out "$(checkpoint_of "${2%_ema}" "$1")" "$DATA" --split valid --tasks "${measured[@]}" --instructions 1 "${@:3}"
}

runs=()
for factor in $FACTORS; do
  for seed in $SEEDS; do
    point "$seed" "$factor"
    runs+=("$factor=$OUT/evaluation/$factor/seed$seed/held_out")
    if [[ "$factor" == base ]]; then
      measure "$seed" base_ema --weights ema
      runs+=("base_ema=$OUT/evaluation/base_ema/seed$seed/held_out")
    fi
  done
done
run ofa-mi report "${runs[@]}" --out "$OUT/report" --title "ofa_nano, one factor at a time"
