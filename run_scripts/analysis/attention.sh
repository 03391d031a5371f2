#!/usr/bin/env bash
# Shows: how much of the text's attention goes to the image, layer by layer; text-only tuning roughly halves it in the paper.
# Needs: CHECKPOINT, the models of finetune/ and transfer/ (or those that MODELS names), DATA.
# Costs: PROFILE=cpu: 10 seconds a model.
#
#   PROFILE=cpu bash run_scripts/analysis/attention.sh
#
# Of the first seed. Draws curves and, over three images, heat maps.
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

read -ra models <<< "${MODELS:-NaturalInstruct MultiInstruct MixedInstruct SeqInstruct}"
check_models "${models[@]}"
seed="${SEEDS%% *}"
checkpoints=("OFA=$CHECKPOINT")
need "$CHECKPOINT" "it comes from $(script_of OFA)"
for model in "${models[@]}"; do
  need "$(checkpoint_of "$model" "$seed")" "it comes from $(script_of "$model")"
  checkpoints+=("$model=$(checkpoint_of "$model" "$seed")")
done
device=()
((GPUS > 0)) || device=(--device cpu)
run ofa-mi attention "${checkpoints[@]}" "${BPE[@]}" --data "$DATA" --tasks eval \
  --max-instances "$ATTENTION_INSTANCES" --batch-size "$EVAL_BATCH_SIZE" --heat-maps 3 --out "$OUT/attention" "${device[@]}"
