#!/usr/bin/env bash
# Shows: what reproduce.sh shows, on a Slurm cluster: a job for every training and seed, chained by what they need.
# Needs: Slurm, and CHECKPOINT, BPE_DIR, DATA and NI_DATA (docs/experiments.md).
# Costs: as reproduce.sh; independent jobs run at once.
#
#   CHECKPOINT=ofa_large.pt BPE_DIR=… DATA=… NI_DATA=… SEEDS="1 2 3" bash run_scripts/slurm/reproduce.sh --gpus-per-node=4
#
# Arguments go to every sbatch. DRY_RUN=1 prints the sbatch commands. The report comes last, in OUT/report.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
DRY_RUN="${DRY_RUN:-0}" SEEDS="${SEEDS:-1}"
export SEEDS OFA_MI_ROOT="$ROOT"
[[ "$SEEDS" =~ ^[0-9]+(\ [0-9]+)*$ ]] || die "SEEDS=$SEEDS: must be whole numbers with a space between them"
if [[ "$DRY_RUN" == 0 ]]; then
  command -v sbatch > /dev/null || die "there is no sbatch on the PATH; without Slurm take run_scripts/reproduce.sh"
  set_up
  export OFA_MI_PYTHON="$PYTHON"
fi

# submit NAME AFTER SCRIPT OPTIONS…: hand in a job that starts when the jobs AFTER (with ':') have ended well; sets NAME.
submit() {
  local name="$1" after="$2" script="$3"
  local command=(sbatch --parsable "--job-name=$name" ${after:+"--dependency=afterok:$after"} "${@:4}"
    "$ROOT/run_scripts/slurm/experiment.sbatch" "$script")
  if [[ "$DRY_RUN" == 1 ]]; then
    quoted "${command[@]}"
    printf -v "$name" '%s' "$name"
  else
    printf -v "$name" '%s' "$("${command[@]}")"
    say "$script: job ${!name}"
  fi
}

each=("--array=${SEEDS// /,}" "$@")
submit text_only "" transfer/natural_instructions.sh "${each[@]}"
submit multiinstruct "" finetune/multiinstruct.sh "${each[@]}"
submit task_name "" transfer/task_name.sh "${each[@]}"
submit mixed "" transfer/mixed.sh "${each[@]}"
# shellcheck disable=SC2154 # submit sets them
{
  submit sequential "$text_only" transfer/sequential.sh "${each[@]}"
  tuned="$text_only:$multiinstruct:$task_name:$mixed:$sequential"
  submit untuned "" evaluate/untuned.sh "$@"
  submit zero_shot "$tuned" evaluate/zero_shot.sh "${each[@]}"
  submit text_tasks "$tuned" evaluate/natural_instructions.sh "${each[@]}"
  submit counts "" ablation/num_instructions.sh "${each[@]}"
  submit groups "" ablation/task_groups.sh "${each[@]}"
  submit presentations "" ablation/presentations.sh "${each[@]}"
  submit robustness "$multiinstruct" evaluate/robustness.sh "$@"
  submit attention "$tuned" analysis/attention.sh "$@" --nodes=1
  submit report "$untuned:$zero_shot:$text_tasks:$counts:$groups:$presentations:$robustness:$attention" report.sh "$@" --nodes=1
}
