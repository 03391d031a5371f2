# shellcheck shell=bash disable=SC1091,SC2034
# The setting of InstrAug (arXiv 2402.14492), which trained OFA-large on MultiInstruct anew on 4 GPUs of 48 GB: 4 epochs at
# nearly one learning rate, frozen embeddings, evaluated with averaged weights. Instructions beside the five are in
# EXTRA_INSTRUCTIONS (`ofa-mi instructions augment`). All that is not here is as in PROFILE=paper.
: "${GPUS:=4}"
: "${BATCH_SIZE:=4}"
: "${LR:=1e-5}"
: "${WARMUP_RATIO:=0}"
: "${MAX_EPOCH:=4}"
: "${MAX_SRC_LENGTH:=1024}"
: "${MAX_TGT_LENGTH:=30}"
: "${PATCH_IMAGE_SIZE:=480}"
: "${LABEL_SMOOTHING:=0.1}"
: "${DROP_PATH:=0.1}"
: "${TRAIN_OPTIONS:=--end-lr 8e-6 --freeze-encoder-embedding --freeze-decoder-embedding --store-ema --ema-fp32 --ema-decay 0.9999}"
: "${EVAL_WEIGHTS:=ema}"
source "$ROOT/run_scripts/profiles/paper.sh"
