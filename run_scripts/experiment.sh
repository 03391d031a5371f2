# What the experiments share beside env.sh: profiles, launching, resuming, several seeds. A script sources this and calls
# `experiment`; it then reads as the definition of its experiment:
#
#   source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
#   experiment
#   for_each_seed tune MultiInstruct --tasks train
#
# Environment (all values of run_scripts/profiles/*.sh can be set, too):
#   PROFILE  paper (default) or cpu: the file of run_scripts/profiles/ that fills in what is not set
#   OUT      where everything goes (outputs/PROFILE)
#   SEEDS    seeds to train and evaluate, e.g. "1 2 3"
#   DRY_RUN  1 prints the commands, ready to be pasted, and does nothing
#   FSDP     1 shards parameters, gradients and optimiser over GPUs (needs the package fairscale)
#   CHECKPOINT_ACTIVATIONS  1 recomputes activations in the backward pass, for half the memory and a third more time
#   RATIO    share of text-only instructions in mixed training (0.5)
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

experiment() {
  PROFILE="${PROFILE:-paper}"
  local profile="$ROOT/run_scripts/profiles/$PROFILE.sh"
  [[ "$PROFILE" =~ ^[a-z_]+$ && -f "$profile" ]] ||
    die "PROFILE=$PROFILE: there is no such file in run_scripts/profiles; take paper or cpu"
  OUT="${OUT:-$ROOT/outputs/$PROFILE}"
  source "$profile"
  DRY_RUN="${DRY_RUN:-0}"
  RATIO="${RATIO:-0.5}"
  check_values
  [[ "$DRY_RUN" == 1 ]] || set_up
  if ((GPUS == 0)); then
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((JOBS > 1 ? 1 : 2))}" CUDA_VISIBLE_DEVICES=
  fi
}

check_values() {
  local name
  for name in GPUS NODES JOBS BATCH_SIZE GLOBAL_BATCH MAX_EPOCH MAX_UPDATE EVAL_INSTANCES NI_INSTANCES; do
    [[ "${!name}" =~ ^[0-9]+$ ]] || die "$name=${!name}: must be a whole number"
  done
  ((JOBS > 0 && NODES > 0 && BATCH_SIZE > 0)) || die "JOBS, NODES and BATCH_SIZE must be at least 1"
  [[ "$SEEDS" =~ ^[0-9]+(\ +[0-9]+)*$ ]] || die "SEEDS=$SEEDS: must be whole numbers with spaces between them"
  [[ "$PRECISION" =~ ^(fp32|fp16|bf16)$ ]] || die "PRECISION=$PRECISION: must be fp32, fp16 or bf16"
  [[ "$DRY_RUN" =~ ^[01]$ ]] || die "DRY_RUN=$DRY_RUN: must be 0 or 1"
  ((MAX_EPOCH > 0 || MAX_UPDATE > 0)) || die "one of MAX_EPOCH and MAX_UPDATE must be above 0"
  local processes=$((GPUS > 1 ? GPUS * NODES : NODES))
  UPDATE_FREQ="${UPDATE_FREQ:-$((GLOBAL_BATCH / (BATCH_SIZE * processes) > 0 ? GLOBAL_BATCH / (BATCH_SIZE * processes) : 1))}"
}

# run COMMAND…: do it, or print it.
run() {
  if [[ "$DRY_RUN" == 1 ]]; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}

# for_each_seed FUNCTION ARGUMENTS…: call FUNCTION SEED ARGUMENTS… for every seed, JOBS at once.
for_each_seed() {
  local function="$1" seed
  shift
  for seed in $SEEDS; do
    spawn "$function" "$seed" "$@"
  done
  join
}

# spawn COMMAND…: start it beside others, at most JOBS at once; join waits for all. A failure ends the script at join.
FAILED=0
spawn() {
  if [[ "$DRY_RUN" == 1 || "$JOBS" == 1 ]]; then
    "$@"
    return
  fi
  while (($(jobs -rp | wc -l) >= JOBS)); do
    wait -n || FAILED=1
  done
  "$@" &
}

join() {
  local job
  for job in $(jobs -p); do
    wait "$job" || FAILED=1
  done
  ((FAILED == 0)) || die "something failed, see above; run the same command again to continue"
}

checkpoint_of() { printf '%s/checkpoints/%s/seed%s/checkpoint_last.pt' "$OUT" "$1" "$2"; }

# The command that starts training: one process, or torchrun on several GPUs and nodes.
launcher() {
  LAUNCH=(fairseq-train)
  if ((GPUS > 1 || NODES > 1)); then
    local program=fairseq-train
    [[ "$DRY_RUN" == 1 ]] || program="$(command -v fairseq-train)"
    LAUNCH=(torchrun --nnodes "$NODES" --nproc_per_node "$((GPUS > 0 ? GPUS : 1))")
    if ((NODES > 1)); then
      LAUNCH+=(--node_rank "${NODE_RANK:-0}" --master_addr "${MASTER_ADDR:-localhost}" --master_port "${MASTER_PORT:-29500}")
    fi
    LAUNCH+=("$program")
  fi
}

# train SEED NAME DATA ARGUMENTS…: one training into OUT/checkpoints/NAME/seedSEED; skipped when it is done, resumed when not.
train() {
  local seed="$1" name="$2" data="$3" folder="$OUT/checkpoints/$2/seed$1"
  shift 3
  if [[ -f "$folder/done" ]]; then
    say "$name, seed $seed: already trained"
    return
  fi
  local LAUNCH
  launcher
  local command=(
    "${LAUNCH[@]}" "$data" --user-dir "$ROOT/ofa_mi" --task multiinstruct --arch "$ARCH"
    --bpe-dir "$BPE_DIR" --patch-image-size "$PATCH_IMAGE_SIZE"
    --max-src-length "$MAX_SRC_LENGTH" --max-tgt-length "$MAX_TGT_LENGTH"
    --criterion adjust_label_smoothed_cross_entropy --label-smoothing 0.1
    --optimizer adam --adam-betas '(0.9,0.999)' --adam-eps 1e-8 --weight-decay 0.01 --clip-norm 1.0
    --lr "$LR" --lr-scheduler polynomial_decay
    --batch-size "$BATCH_SIZE" --update-freq "$UPDATE_FREQ" --num-workers "$NUM_WORKERS"
    --encoder-drop-path-rate "$DROP_PATH" --decoder-drop-path-rate "$DROP_PATH"
    --mixture-temperature "$MIXTURE_TEMPERATURE" --max-valid-instances-per-task "$VALID_INSTANCES"
    --seed "$seed" --save-dir "$folder" --no-epoch-checkpoints
    --save-interval-updates "$SAVE_EVERY" --keep-interval-updates 1 --log-format json --log-interval 50
  )
  command+=($(schedule "$data") $(precision) $(sharding) "$@")
  if [[ "$DRY_RUN" == 1 ]]; then
    run "${command[@]}"
    return
  fi
  mkdir -p "$folder"
  say "$name, seed $seed: training"
  "${command[@]}" >> "$folder/train.log" 2>&1 || die "$name, seed $seed stopped; see $folder/train.log"
  touch "$folder/done"
  say "$name, seed $seed: trained"
}

# Length, decay and warm-up over MAX_UPDATE updates or, if that is 0, over MAX_EPOCH epochs of the data.
schedule() {
  local total="$MAX_UPDATE"
  ((total > 0)) || total="$((MAX_EPOCH * ($(count_lines "$1") / GLOBAL_BATCH + 1)))"
  echo "--total-num-update $total --warmup-updates $(awk -v n="$total" -v w="$WARMUP" 'BEGIN { print int(n * w) }')"
  ((MAX_UPDATE == 0)) || echo "--max-update $MAX_UPDATE"
  ((MAX_EPOCH == 0)) || echo "--max-epoch $MAX_EPOCH"
}

# Instances in the training files of data directories joined by ':'.
count_lines() {
  local directory total=0
  for directory in ${1//:/ }; do
    if [[ -f "$directory/train.jsonl" ]]; then
      total=$((total + $(wc -l < "$directory/train.jsonl")))
    else
      say "$directory/train.jsonl does not exist yet: the length of the schedule is not known"
    fi
  done
  echo "$total"
}

precision() {
  case "$PRECISION" in
    fp16) echo "--fp16 --fp16-scale-window 512" ;;
    bf16) echo "--bf16" ;;
  esac
  ((GPUS > 0)) || echo "--cpu"
}

sharding() {
  [[ "${CHECKPOINT_ACTIVATIONS:-0}" != 1 ]] || echo "--checkpoint-activations"
  if [[ "${FSDP:-0}" == 1 ]]; then
    [[ "$DRY_RUN" == 1 ]] || "$PYTHON" -c 'import fairscale' 2> /dev/null ||
      die "FSDP=1: fairseq's sharding needs the package fairscale; install it with: $PYTHON -m pip install fairscale"
    echo "--ddp-backend fully_sharded"
  fi
}

# evaluate SEED NAME RUN CHECKPOINT DATA ARGUMENTS…: one run of `ofa-mi evaluate` into OUT/evaluation/NAME/seedSEED/RUN.
evaluate() {
  local seed="$1" name="$2" which="$3" checkpoint="$4" data="$5" folder="$OUT/evaluation/$2/seed$1/$3"
  shift 5
  if [[ -f "$folder/done" ]]; then
    say "$name, seed $seed: $which already evaluated"
    return
  fi
  local command=(
    ofa-mi evaluate --checkpoint "$checkpoint" --bpe-dir "$BPE_DIR" --data "$data" --out "$folder"
    --max-instances "$EVAL_INSTANCES" --batch-size "$EVAL_BATCH_SIZE" --max-len "$EVAL_MAX_LEN" "$@"
  )
  if [[ "$DRY_RUN" == 1 ]]; then
    run "${command[@]}"
    return
  fi
  mkdir -p "$folder"
  say "$name, seed $seed: evaluating $which"
  "${command[@]}" > "$folder/evaluate.log" 2>&1 || die "$name, seed $seed: $which stopped; see $folder/evaluate.log"
  touch "$folder/done"
}

# How a strategy is prompted when it is evaluated: as it was trained (the paper's section 4).
prompting() {
  case "$1" in
    TaskName) echo "--prompt-style task-name" ;;
    NaturalInstruct) echo "--option-markers off" ;;
  esac
}
