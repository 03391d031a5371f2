# shellcheck shell=bash
# What the experiments share beside env.sh: profiles, launching, resuming, several seeds. A script sources this and calls
# `experiment`; it then reads as the definition of its experiment:
#
#   source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
#   experiment
#   tune() { train "$1" MultiInstruct "$CHECKPOINT" "$DATA" --tasks train; }
#   for_each_seed tune
#
# Environment (and all values of run_scripts/profiles/*.sh; docs/experiments.md explains each):
#   PROFILE  paper (default) or cpu: the file of run_scripts/profiles that fills in what is not set
#   OUT      where everything goes (outputs/PROFILE)
#   DRY_RUN  1 prints the commands, one a line and ready to be pasted, and does nothing
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

STRATEGIES="TaskName MultiInstruct NaturalInstruct MixedInstruct SeqInstruct" # as the paper calls them; OFA is untuned

# Load the profile, check every value and, but for a dry run, set up the environment.
experiment() {
  PROFILE="${PROFILE:-paper}"
  [[ "$PROFILE" =~ ^[a-z0-9_]+$ && -f "$ROOT/run_scripts/profiles/$PROFILE.sh" ]] ||
    die "PROFILE=$PROFILE: there is no such file in run_scripts/profiles; take paper or cpu"
  OUT="${OUT:-$ROOT/outputs/$PROFILE}"
  DRY_RUN="${DRY_RUN:-0}"
  # shellcheck source=/dev/null
  source "$ROOT/run_scripts/profiles/$PROFILE.sh"
  check_values
  [[ "$DRY_RUN" == 1 ]] || set_up
  if ((GPUS == 0)); then
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((JOBS * CPU_PROCESSES > 1 ? 1 : 2))}"
  fi
}

check_values() {
  local name
  for name in GPUS CPU_PROCESSES NODES NODE_RANK JOBS BATCH_SIZE GLOBAL_BATCH MAX_EPOCH MAX_UPDATE PATCH_IMAGE_SIZE MAX_IMAGE_SIZE MAX_SRC_LENGTH \
    MAX_TGT_LENGTH NUM_WORKERS SAVE_EVERY VALID_INSTANCES EVAL_INSTANCES NI_INSTANCES EVAL_BATCH_SIZE EVAL_MAX_LEN EVAL_BEAM; do
    [[ "${!name}" =~ ^[0-9]+$ ]] || die "$name=${!name}: must be a whole number"
  done
  for name in DRY_RUN FSDP CHECKPOINT_ACTIVATIONS; do
    [[ "${!name}" =~ ^[01]$ ]] || die "$name=${!name}: must be 0 or 1"
  done
  for name in SEEDS ABLATION_SEEDS; do
    [[ "${!name}" =~ ^[0-9]+(\ [0-9]+)*$ ]] || die "$name=${!name}: must be whole numbers with a space between them"
  done
  for name in CPU_PROCESSES NODES JOBS BATCH_SIZE EVAL_BATCH_SIZE SAVE_EVERY; do
    ((${!name} > 0)) || die "$name=${!name}: must be at least 1"
  done
  for name in PRECISION EVAL_PRECISION; do
    [[ "${!name}" =~ ^(fp32|fp16|bf16)$ ]] || die "$name=${!name}: must be fp32, fp16 or bf16"
  done
  ((MAX_EPOCH > 0 || MAX_UPDATE > 0)) || die "MAX_EPOCH and MAX_UPDATE are 0: set one of them"
  [[ "$RATIO" == all || "$RATIO" =~ ^0?\.[0-9]*[1-9][0-9]*$ ]] ||
    die "RATIO=$RATIO: must be a share between 0 and 1, or all (every instance once)"
  check_machines
  BPE=()
  [[ -z "$BPE_DIR" ]] || BPE=(--bpe-dir "$BPE_DIR")
  SHARES=() # of mixed training
  [[ "$RATIO" == all ]] || SHARES=(--task-shares "natural_instructions=$RATIO")
}

# Processes and accumulation: BATCH_SIZE x processes x UPDATE_FREQ = GLOBAL_BATCH.
check_machines() {
  LOCAL=$((GPUS > 0 ? GPUS : CPU_PROCESSES)) # processes of this node
  PROCESSES=$((LOCAL * NODES))
  if ((GPUS == 0)); then
    ((NODES == 1)) || die "NODES=$NODES needs GPUS: the GPUs of each node"
    [[ "$PRECISION" != fp16 ]] || die "PRECISION=fp16 needs a GPU; on a CPU take bf16 or fp32"
    [[ "$FSDP" == 0 ]] || die "FSDP=1 needs GPUs"
  fi
  ((NODES == 1)) || [[ -n "${MASTER_ADDR:-}" ]] || die "NODES=$NODES: set MASTER_ADDR to the host of node 0, and NODE_RANK"
  ((NODE_RANK < NODES)) || die "NODE_RANK=$NODE_RANK: must be below NODES=$NODES"
  [[ "$FSDP" == 0 || "$PRECISION" != bf16 ]] || die "FSDP=1: fairseq's sharding does fp16 or fp32, not bf16"
  if [[ -z "${UPDATE_FREQ:-}" ]]; then
    ((GLOBAL_BATCH > 0 && GLOBAL_BATCH % (BATCH_SIZE * PROCESSES) == 0)) || die "GLOBAL_BATCH=$GLOBAL_BATCH is no multiple" \
      "of BATCH_SIZE=$BATCH_SIZE x $PROCESSES processes; change one of them, or set UPDATE_FREQ"
    UPDATE_FREQ=$((GLOBAL_BATCH / (BATCH_SIZE * PROCESSES)))
  fi
  [[ "$UPDATE_FREQ" =~ ^[1-9][0-9]*$ ]] || die "UPDATE_FREQ=$UPDATE_FREQ: must be a whole number from 1"
}

# check_models MODELS…: die unless every one is a strategy.
check_models() {
  local model
  for model in "$@"; do
    [[ " $STRATEGIES " == *" $model "* ]] || die "MODELS: $model is none of $STRATEGIES"
  done
}

# ---- one command

# quoted WORD…: the words as a line that can be pasted into a shell.
quoted() {
  local word words=()
  for word in "$@"; do
    if [[ "$word" =~ ^[A-Za-z0-9_./:=,+@%-]+$ ]]; then words+=("$word"); else words+=("'${word//\'/\'\\\'\'}'"); fi
  done
  printf '%s\n' "${words[*]}"
}

# run COMMAND…: do it, or print it.
run() {
  if [[ "$DRY_RUN" == 1 ]]; then quoted "$@"; else "$@"; fi
}

# need FILE WHAT…: die unless the file exists; WHAT says where it comes from.
need() {
  [[ "$DRY_RUN" == 1 || -e "$1" ]] || die "$1 does not exist: ${*:2}"
}

# need_data DIRECTORIES SPLIT: die unless each of the directories, joined by ':', has the split.
need_data() {
  local directories directory
  IFS=: read -ra directories <<< "$1"
  for directory in "${directories[@]}"; do
    need "$directory/$2.jsonl" "run_scripts/data/prepare.sh makes the data of PROFILE=cpu, or set DATA and NI_DATA" \
      "(docs/experiments.md)"
  done
}

# ---- several at once

# for_each_seed FUNCTION ARGUMENTS…: call FUNCTION SEED ARGUMENTS… for every seed, JOBS at once.
for_each_seed() {
  local function="$1" seed
  shift
  for seed in $SEEDS; do
    spawn "$function" "$seed" "$@"
  done
  join
}

# spawn COMMAND…: start it beside others, at most JOBS at once. After a failure nothing more is started.
spawn() {
  if [[ "$DRY_RUN" == 1 || "$JOBS" == 1 ]]; then
    "$@"
    return
  fi
  trap stop_jobs EXIT
  while (($(jobs -rp | wc -l) >= JOBS)); do
    wait -n || failed
  done
  set -m # a process group of its own, so that it can be stopped with all that it started
  "$@" &
  set +m
}

# join: wait for what spawn has started.
join() {
  local job
  for job in $(jobs -p); do
    wait "$job" || failed
  done
}

failed() {
  local job
  for job in $(jobs -rp); do
    wait "$job" || true
  done
  die "something failed, see above; run the same command again to continue"
}

stop_jobs() {
  local job
  for job in $(jobs -rp); do
    kill -- "-$job" 2> /dev/null || true
  done
}

# ---- folders of results

# finished FOLDER MARK SETTINGS…: whether FOLDER is finished, i.e. holds MARK. Its settings are kept in it, so that results of
# others are never taken for these.
finished() {
  local folder="$1" mark="$2" settings
  shift 2
  settings="$(settings_of "$@")"
  if [[ ! -f "$folder/settings" ]]; then
    mkdir -p "$folder"
    ((NODE_RANK > 0)) || printf '%s\n' "$settings" > "$folder/settings"
  elif [[ "$(< "$folder/settings")" != "$settings" ]]; then
    die "$folder was made with other settings: $(differences "$folder/settings" "$settings");" \
      "remove it or set another OUT"
  fi
  [[ -f "$folder/$mark" ]]
}

# settings_of WORD…: one option a line, and paths below OUT without it, so that OUT can be moved.
settings_of() {
  local text=" $*"
  text="${text//"$OUT/"/}"
  printf '%s' "${text// --/$'\n'--}"
}

differences() {
  diff "$1" <(printf '%s\n' "$2") | sed -n 's/^< /was /p; s/^> /is /p' | tr '\n' ',' | sed 's/,$//; s/,/, /g' || true
}

# alone FOLDER COMMAND…: run it when no other script is at work on FOLDER; a second one waits, and finds it finished.
alone() {
  local folder="$1"
  shift
  if ((NODE_RANK > 0)) || ! command -v flock > /dev/null; then
    "$@"
    return
  fi
  mkdir -p "$folder"
  (
    flock 9
    "$@"
  ) 9> "$folder/lock"
}

# ---- training

checkpoint_of() { printf '%s' "$OUT/checkpoints/$1/seed$2/checkpoint_last.pt"; }

# train SEED NAME START DATA OPTIONS…: one training into OUT/checkpoints/NAME/seedSEED; skipped when finished, resumed when
# not. It keeps the model of the checkpoint START and nothing else of it (optimiser, schedule, order of the data); with an empty
# START it begins from scratch.
train() {
  local seed="$1" name="$2" start="$3" data="$4" folder="$OUT/checkpoints/$2/seed$1"
  shift 4
  local recipe=(
    "$data" --task multiinstruct --arch "$ARCH" "${BPE[@]}" --patch-image-size "$PATCH_IMAGE_SIZE"
    --max-image-size "$MAX_IMAGE_SIZE" --max-src-length "$MAX_SRC_LENGTH" --max-tgt-length "$MAX_TGT_LENGTH"
    --criterion adjust_label_smoothed_cross_entropy --label-smoothing "$LABEL_SMOOTHING"
    --optimizer adam --adam-betas '(0.9,0.999)' --adam-eps 1e-8 --weight-decay 0.01 --clip-norm 1.0
    --lr "$LR" --lr-scheduler linear_decay --warmup-ratio "$WARMUP_RATIO"
    --max-epoch "$MAX_EPOCH" --max-update "$MAX_UPDATE"
    --dropout "$DROPOUT" --encoder-drop-path-rate "$DROP_PATH" --decoder-drop-path-rate "$DROP_PATH"
    --mixture-temperature "$MIXTURE_TEMPERATURE" --max-instances-per-task "$MAX_INSTANCES" --seed "$seed" "$@"
  )
  [[ -z "$start" ]] || recipe+=(--finetune-from-model "$start")
  case "$PRECISION" in
    fp16) recipe+=(--fp16 --fp16-scale-window 512) ;;
    bf16) recipe+=(--bf16) ;;
  esac
  local batch=(--batch-size "$BATCH_SIZE" --update-freq "$UPDATE_FREQ")
  local rest=(
    --num-workers "$NUM_WORKERS" --max-valid-instances-per-task "$VALID_INSTANCES" --log-format json --log-interval 50
    --save-dir "$folder" --save-interval-updates "$SAVE_EVERY" --keep-interval-updates 1 --no-epoch-checkpoints
  )
  [[ "$CHECKPOINT_ACTIVATIONS" == 0 ]] || rest+=(--checkpoint-activations)
  [[ "$FSDP" == 0 ]] || rest+=(--ddp-backend fully_sharded)
  local LAUNCH
  launcher
  if [[ "$DRY_RUN" == 1 ]]; then
    quoted "${LAUNCH[@]}" "${recipe[@]}" "${batch[@]}" "${rest[@]}"
  else
    alone "$folder" train_unless_finished
  fi
}

# The body of `train`, with its variables.
train_unless_finished() {
  if finished "$folder" "done" "${recipe[@]}" --effective-batch "$((BATCH_SIZE * PROCESSES * UPDATE_FREQ))"; then
    say "$name, seed $seed: already trained"
    return
  fi
  need_data "$data" train
  [[ -z "$BPE_DIR" ]] || need "$BPE_DIR/dict.txt" "run_scripts/data/prepare.sh makes the vocabulary of PROFILE=cpu, or set BPE_DIR"
  [[ -z "$start" ]] || need "$start" "run_scripts/pretrain/small.sh trains a model to start from, or set CHECKPOINT"
  local log="$folder/train.log"
  ((NODE_RANK == 0)) || log="$folder/train.node$NODE_RANK.log"
  say "$name, seed $seed: training; log in $log"
  "${LAUNCH[@]}" "${recipe[@]}" "${batch[@]}" "${rest[@]}" 2>&1 | tee -a "$log" | progress "$name, seed $seed" ||
    die "$name, seed $seed stopped: $(last_error "$log") ($log); run the same command again to continue"
  ((NODE_RANK > 0)) || touch "$folder/done"
}

# The words that start the processes of a training on this machine: one per GPU, or CPU_PROCESSES.
launcher() {
  LAUNCH=(ofa-mi train)
  if ((NODES > 1)); then
    LAUNCH=(torchrun --nnodes "$NODES" --node-rank "$NODE_RANK" --nproc-per-node "$GPUS")
    LAUNCH+=(--master-addr "$MASTER_ADDR" --master-port "${MASTER_PORT:-29500}" -m ofa_mi.cli train)
  elif ((GPUS > 1)); then
    LAUNCH=(torchrun --standalone --nproc-per-node "$GPUS" -m ofa_mi.cli train)
  elif ((PROCESSES > 1)); then
    LAUNCH=(torchrun --standalone --nproc-per-node "$PROCESSES" -m ofa_mi.cli train)
    rest+=(--cpu)
  else
    rest+=(--distributed-world-size 1) # fairseq starts a process on every GPU that it sees
    ((GPUS > 0)) || rest+=(--cpu)
  fi
}

# progress NAME: a line for every line of fairseq's log that a reader wants, e.g. "update 100, loss 2.91, 3.1 updates/s".
progress() {
  local name="${1//\//\\/}"
  sed -u -n -E \
    -e "s/.*\| train_inner \|.*\"loss\": \"([^\"]*)\".*\"ups\": \"([^\"]*)\".*\"num_updates\": \"([^\"]*)\".*/[ofa-mi] $name: update \3, loss \1, \2 updates\/s/p" \
    -e "s/.*\| valid \|.*\"valid_loss\": \"([^\"]*)\".*\"valid_score\": \"([^\"]*)\".*/[ofa-mi] $name: validation: loss \1, mean score of the tasks \2/p" >&2
}

# ---- evaluation

# evaluate SEED NAME RUN CHECKPOINT DATA OPTIONS…: one run of `ofa-mi evaluate` into OUT/evaluation/NAME/seedSEED/RUN, shared
# by all GPUs; skipped when finished, resumed when not.
evaluate() {
  local seed="$1" name="$2" what="$3" checkpoint="$4" data="$5" folder="$OUT/evaluation/$2/seed$1/$3" part
  shift 5
  local command=(
    ofa-mi evaluate --checkpoint "$checkpoint" "${BPE[@]}" --data "$data" --out "$folder" --beam "$EVAL_BEAM"
    --max-len "$EVAL_MAX_LEN" --precision "$EVAL_PRECISION" "$@"
  )
  ((EVAL_INSTANCES == 0)) || [[ " $* " == *" --max-instances "* ]] || command+=(--max-instances "$EVAL_INSTANCES")
  local how=(--batch-size "$EVAL_BATCH_SIZE")
  if [[ "$DRY_RUN" == 0 ]]; then
    alone "$folder" evaluate_unless_finished
  else
    for ((part = 0; part < LOCAL; part++)); do
      part_options "$part"
      quoted "${command[@]}" "${how[@]}" "${PART_OPTIONS[@]}"
    done
  fi
}

# The body of `evaluate`, with its variables.
evaluate_unless_finished() {
  if finished "$folder" scores.json "${command[@]}"; then
    [[ ! "$checkpoint" -nt "$folder/scores.json" ]] || die "$folder is older than $checkpoint: remove it"
    say "$name, seed $seed: $what already evaluated"
    return
  fi
  need_data "$data" test
  need "$checkpoint" "it comes from $(script_of "$name")"
  say "$name, seed $seed: evaluating $what"
  local log="$folder/evaluate.log"
  if ((PROCESSES == 1)); then
    part_options 0
    how+=("${PART_OPTIONS[@]}")
    if ((JOBS == 1)); then # nothing else writes to the terminal meanwhile
      "${command[@]}" "${how[@]}" 2>&1 | tee "$log" >&2 || evaluation_stopped
    else
      "${command[@]}" "${how[@]}" > "$log" 2>&1 || evaluation_stopped
    fi
  else
    evaluate_parts
  fi
  say "$name, seed $seed: evaluated $what"
}

# part_options PART: how the process PART of this node takes its share of an evaluation, in PART_OPTIONS.
part_options() {
  PART_OPTIONS=()
  if ((GPUS == 0)); then PART_OPTIONS+=(--device cpu); elif ((PROCESSES > 1)); then PART_OPTIONS+=(--device "cuda:$1"); fi
  ((PROCESSES == 1)) || PART_OPTIONS+=(--shard "$((NODE_RANK * LOCAL + $1))/$PROCESSES")
}

# One process per GPU of this node, or CPU_PROCESSES. The last one of all nodes writes the scores, for which the other nodes wait.
evaluate_parts() {
  local part parts=()
  for ((part = 0; part < LOCAL; part++)); do
    part_options "$part"
    "${command[@]}" "${how[@]}" "${PART_OPTIONS[@]}" \
      > "$folder/evaluate.part$((NODE_RANK * LOCAL + part)).log" 2>&1 &
    parts+=($!)
  done
  for part in "${!parts[@]}"; do
    log="$folder/evaluate.part$((NODE_RANK * LOCAL + part)).log"
    wait "${parts[$part]}" || evaluation_stopped
  done
  until [[ -f "$folder/scores.json" ]]; do sleep 2; done
}

evaluation_stopped() {
  die "$name, seed $seed: $what stopped: $(last_error "$log") ($log); run the same command again to continue"
}

# zero_shot SEED NAME CHECKPOINT OPTIONS…: the evaluation tasks, once per instruction.
zero_shot() {
  local tasks
  read -ra tasks <<< "$EVAL_TASKS"
  evaluate "$1" "$2" zero_shot "$3" "$DATA" --tasks "${tasks[@]}" "${@:4}"
}

# trained_tasks SEED NAME CHECKPOINT: the training tasks on instances that were not trained on.
trained_tasks() {
  local excluded
  IFS=, read -ra excluded <<< "$EXCLUDE_TASKS"
  evaluate "$1" "$2" trained "$3" "$DATA" --split valid --tasks train --exclude-tasks eval "${excluded[@]}"
}

# natural_instructions SEED NAME CHECKPOINT: the held-out tasks of Natural Instructions, under their own instruction.
natural_instructions() {
  evaluate "$1" "$2" natural_instructions "$3" "$NI_DATA" --tasks natural_instructions_test --option-markers off \
    --max-instances "$NI_INSTANCES"
}

# How a strategy is prompted when it is evaluated: as it was trained.
prompting() {
  case "$1" in
    TaskName) echo "--prompt-style task-name" ;;
    NaturalInstruct) echo "--option-markers off" ;;
  esac
}

# script_of NAME: what makes the checkpoints of that name.
script_of() {
  case "$1" in
    OFA) echo "run_scripts/pretrain/small.sh, or set CHECKPOINT" ;;
    TaskName) echo "run_scripts/transfer/task_name.sh" ;;
    MultiInstruct) echo "run_scripts/finetune/multiinstruct.sh" ;;
    NaturalInstruct) echo "run_scripts/transfer/natural_instructions.sh" ;;
    MixedInstruct) echo "run_scripts/transfer/mixed.sh" ;;
    SeqInstruct) echo "run_scripts/transfer/sequential.sh" ;;
    *) echo "run_scripts/ablation" ;;
  esac
}
