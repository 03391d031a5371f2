#!/usr/bin/env bash
# Shows: how much of the text's attention goes to the image, layer by layer; text-only tuning lowers it in the paper.
# Needs: CHECKPOINT, the models of finetune/ and transfer/, DATA.
# Costs: PROFILE=cpu: a few seconds a model.
#
#   PROFILE=cpu bash run_scripts/analysis/attention.sh
source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh"
experiment

MODELS="${MODELS:-MultiInstruct NaturalInstruct MixedInstruct SeqInstruct}"
seed="${SEEDS%% *}"
checkpoints=("OFA=$CHECKPOINT")
for model in $MODELS; do
  checkpoints+=("$model=$(checkpoint_of "$model" "$seed")")
done
run ofa-mi attention "${checkpoints[@]}" --bpe-dir "$BPE_DIR" --data "$DATA" --tasks eval \
  --max-instances "${ATTENTION_INSTANCES:-20}" --batch-size "$EVAL_BATCH_SIZE" --out "$OUT/attention"
