# shellcheck shell=bash disable=SC1090,SC2046,SC2086 # lists of words without spaces are not quoted
# What the experiments share beside env.sh. A script sources this and calls `experiment`; it then reads as the definition of
# its experiment:
#
#   source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
#   experiment
#   tune() { train "$1" MultiInstruct "$CHECKPOINT" "$DATA" --tasks train; }
#   for_each_seed tune
#
# Here is what runs; `ofa-mi experiment` checks, launches, locks, resumes and stops. docs/experiments.md explains all values.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

STRATEGIES="TaskName MultiInstruct NaturalInstruct MixedInstruct SeqInstruct" # as the paper calls them; OFA is untuned
PLAN=() SPAWNING=0 # what `join` runs, and whether a function is adding to it
CLI='import sys; sys.path.insert(0, sys.argv[1]); from ofa_mi import cli; sys.exit(cli.main(["experiment", *sys.argv[2:]]))'

# Load the profile, check every value and, but for a dry run, set up the environment.
experiment() {
  local checked
  PROFILE="${PROFILE:-paper}"
  [[ "$PROFILE" =~ ^[a-z0-9_]+$ && -f "$ROOT/run_scripts/profiles/$PROFILE.sh" ]] ||
    die "PROFILE=$PROFILE: there is no such file in run_scripts/profiles; take paper or cpu"
  OUT="${OUT:-$ROOT/outputs/$PROFILE}" DRY_RUN="${DRY_RUN:-0}"
  source "$ROOT/run_scripts/profiles/$PROFILE.sh"
  choose_python
  # Exported to this command only: other scripts that a script starts fill in values of their own.
  checked="$(export $(compgen -A variable | grep -E '^[A-Z_]+$') && "$PYTHON" -P -c "$CLI" "$ROOT" check)" || exit 1
  read -r PROCESSES UPDATE_FREQ MACHINE <<< "$checked" # MACHINE: options that say how this node takes part
  BPE=() SHARES=()                                     # SHARES: of mixed training
  [[ -z "$BPE_DIR" ]] || BPE=(--bpe-dir "$BPE_DIR")
  [[ "$RATIO" == all ]] || SHARES=(--task-shares "natural_instructions=$RATIO")
  [[ "$DRY_RUN" == 1 ]] || set_up
  ((GPUS > 0)) || export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((JOBS * CPU_PROCESSES > 1 ? 1 : 2))}"
}

# run COMMAND…: do it, or print it.
run() { if [[ "$DRY_RUN" == 1 ]]; then quoted "$@"; else "$@"; fi; }

# need FILE WHAT…: die unless the file exists; WHAT says where it comes from.
need() { [[ "$DRY_RUN" == 1 || -e "$1" ]] || die "$1 does not exist: ${*:2}"; }

# need_data DIRECTORIES SPLIT: die unless each of the directories, joined by ':', has the split.
need_data() { [[ "$DRY_RUN" == 1 ]] || ofa-mi experiment need-data "$1" "$2"; }

# check_models MODELS…: die unless every one is a strategy.
check_models() {
  local model
  for model in "$@"; do [[ " $STRATEGIES " == *" $model "* ]] || die "MODELS: $model is none of $STRATEGIES"; done
}

# for_each_seed FUNCTION ARGUMENTS…: call FUNCTION SEED ARGUMENTS… for every seed, JOBS at once.
for_each_seed() {
  local seed
  for seed in $SEEDS; do spawn "$1" "$seed" "${@:2}"; done
  join
}

# spawn COMMAND…: a job that `join` runs beside others, JOBS at once. A function is called now, and the trainings and
# evaluations in it, one after the other, are the job.
spawn() {
  plan job
  if declare -F "$1" > /dev/null; then SPAWNING=1 "$@"; else plan command "$@"; fi
}

# join: run what has been spawned. After a failure nothing more is started; whatever stops this script stops it too.
join() {
  "$PYTHON" -P -c "$CLI" "$ROOT" run --out "$OUT" $MACHINE -- "${PLAN[@]}" &
  PLAN=()
  trap 'kill "$!" 2> /dev/null && wait "$!"' EXIT
  wait "$!" || exit
  trap - EXIT
}

# plan WORD…: a group of words of what `join` runs (ofa_mi/experiments/plan.py).
plan() { PLAN+=("$#" "$@"); }

checkpoint_of() { printf '%s' "$OUT/checkpoints/$1/seed$2/checkpoint_last.pt"; }

# train SEED NAME START DATA OPTIONS…: one training into OUT/checkpoints/NAME/seedSEED; skipped when finished, resumed when not.
# It keeps the model of the checkpoint START and nothing else of it; with an empty START it begins from scratch.
train() { train_into "$OUT/checkpoints/$2/seed$1" "$2, seed $1" trained "$@"; }

# train_into FOLDER LABEL END SEED NAME START DATA OPTIONS…: the same in any folder; a finished one is "LABEL: already END".
train_into() {
  local folder="$1" label="$2" end="$3" seed="$4" start="$6" data="$7"
  local recipe=(
    "$data" --task multiinstruct --arch "$ARCH" "${BPE[@]}" --patch-image-size "$PATCH_IMAGE_SIZE"
    --max-image-size "$MAX_IMAGE_SIZE" --max-src-length "$MAX_SRC_LENGTH" --max-tgt-length "$MAX_TGT_LENGTH"
    --criterion adjust_label_smoothed_cross_entropy --label-smoothing "$LABEL_SMOOTHING"
    --optimizer adam --adam-betas '(0.9,0.999)' --adam-eps 1e-8 --weight-decay 0.01 --clip-norm 1.0
    --lr "$LR" --lr-scheduler linear_decay --warmup-ratio "$WARMUP_RATIO" --max-epoch "$MAX_EPOCH" --max-update "$MAX_UPDATE"
    --dropout "$DROPOUT" --encoder-drop-path-rate "$DROP_PATH" --decoder-drop-path-rate "$DROP_PATH"
    --mixture-temperature "$MIXTURE_TEMPERATURE" --max-instances-per-task "$MAX_INSTANCES" --seed "$seed" $TRAIN_OPTIONS "${@:8}"
  )
  [[ -z "$start" ]] || recipe+=(--finetune-from-model "$start")
  [[ -z "$EXTRA_INSTRUCTIONS" ]] || recipe+=(--extra-instructions "$EXTRA_INSTRUCTIONS")
  case "$PRECISION" in fp16) recipe+=(--fp16 --fp16-scale-window 512) ;; bf16) recipe+=(--bf16) ;; esac
  local how=(
    --num-workers "$NUM_WORKERS" --max-valid-instances-per-task "$VALID_INSTANCES" --log-format json --log-interval "${LOG_INTERVAL:-50}"
    --save-dir "$folder" --save-interval-updates "$SAVE_EVERY" --keep-interval-updates 1 --no-epoch-checkpoints
  )
  [[ "$CHECKPOINT_ACTIVATIONS" == 0 ]] || how+=(--checkpoint-activations)
  [[ "$FSDP" == 0 ]] || how+=(--ddp-backend fully_sharded)
  [[ "$TENSORBOARD" == 0 ]] || how+=(--tensorboard-logdir "$folder/tensorboard")
  [[ -z "$WANDB_PROJECT" ]] || how+=(--wandb-project "$WANDB_PROJECT")
  plan training "$folder" "$label" "$end" "$data" "$BPE_DIR" "$start" "$BATCH_SIZE" "$UPDATE_FREQ"
  plan "${recipe[@]}"
  plan "${how[@]}"
  ((SPAWNING)) || join
}

# evaluate SEED NAME RUN CHECKPOINT DATA OPTIONS…: one run of `ofa-mi evaluate` into OUT/evaluation/NAME/seedSEED/RUN; likewise.
evaluate() { evaluate_into "$OUT/evaluation/$2/seed$1/$3" "$2, seed $1" "${@:2}"; }

# evaluate_into FOLDER LABEL NAME RUN CHECKPOINT DATA OPTIONS…: the same in any folder; its lines begin with LABEL.
evaluate_into() {
  local checkpoint="$5"
  # A tuning of a small part has saved no more than that.
  [[ ! " $TRAIN_OPTIONS " =~ \ --(lora-rank|adapter|bitfit)\  || "$5" == "$CHECKPOINT" ]] || checkpoint="$CHECKPOINT+$5"
  local command=(ofa-mi evaluate --checkpoint "$checkpoint" "${BPE[@]}" --data "$6" --out "$1" --beam "$EVAL_BEAM"
    --max-len "$EVAL_MAX_LEN" --precision "$EVAL_PRECISION" "${@:7}")
  [[ "$EVAL_WEIGHTS" == model || "$5" == "$CHECKPOINT" ]] || command+=(--weights "$EVAL_WEIGHTS")
  ((EVAL_INSTANCES == 0)) || [[ " $* " == *" --max-instances "* ]] || command+=(--max-instances "$EVAL_INSTANCES")
  plan evaluation "$1" "$2" "$4" "$6" "$checkpoint" "$(script_of "$3")"
  plan "${command[@]}"
  plan --batch-size "$EVAL_BATCH_SIZE"
  ((SPAWNING)) || join
}

# zero_shot SEED NAME CHECKPOINT OPTIONS…: the evaluation tasks, once per instruction.
zero_shot() { evaluate "$1" "$2" zero_shot "$3" "$DATA" --tasks $EVAL_TASKS "${@:4}"; }

# trained_tasks SEED NAME CHECKPOINT: the training tasks on instances that were not trained on.
trained_tasks() {
  evaluate "$1" "$2" trained "$3" "$DATA" --split valid --tasks train --exclude-tasks eval ${EXCLUDE_TASKS//,/ }
}

# natural_instructions SEED NAME CHECKPOINT: the held-out tasks of Natural Instructions, under their own instruction.
natural_instructions() {
  evaluate "$1" "$2" natural_instructions "$3" "$NI_DATA" --tasks natural_instructions_test --option-markers off \
    --max-instances "$NI_INSTANCES"
}

# prompting NAME: how a strategy is prompted when it is evaluated: as it was trained.
prompting() {
  local -A options=([TaskName]="--prompt-style task-name" [NaturalInstruct]="--option-markers off")
  echo "${options[$1]:-}"
}

# script_of NAME: what makes the checkpoints of that name.
script_of() {
  local -A scripts=([OFA]="pretrain/small.sh, or set CHECKPOINT" [TaskName]=transfer/task_name.sh
    [MultiInstruct]=finetune/multiinstruct.sh [NaturalInstruct]=transfer/natural_instructions.sh
    [MixedInstruct]=transfer/mixed.sh [SeqInstruct]=transfer/sequential.sh)
  echo "run_scripts/${scripts[$1]:-ablation}"
}
