# shellcheck shell=bash
# The curriculum that ofa_nano is pre-trained by, from scratch, every task under one fixed instruction, in three stages: what is
# where; then many questions about one image; then numbers and verdicts, some after what they rest on (docs/nano.md). They take a
# quarter, a quarter and a half of PRETRAIN_UPDATES: the loss of the third falls longest.
#
# The script that sources this defines `stage NAME START OPTIONS…`, a training of MAX_UPDATE updates, and `made NAME`, the
# checkpoint that it makes.

SINGLE="image_captioning,grounded_captioning,visual_grounding,grounded_object_identification,object_grounding,open_domain_vqa,compositional_vqa,object_detection,counting,easy_vqa"
DENSE="dense_detection,dense_captioning,dense_grounding"
# What is not named shares the rest evenly.
SHARES_1="dense_detection=0.2,dense_captioning=0.2,dense_grounding=0.2,image_captioning=0.08"
SHARES_2="dense_question_answering=0.2,dense_region_matching=0.12,dense_caption_matching=0.06,dense_object_matching=0.06,dense_object_relationship=0.05,dense_object_localization=0.08,dense_referring_expression_grounding=0.1,dense_region_overlap=0.05,dense_detection=0.04,dense_captioning=0.05,dense_grounding=0.05,image_captioning=0.02"
SHARES_3="dense_question_answering=0.13,dense_region_matching=0.08,explained_region_matching=0.1,dense_existence=0.1,dense_counting=0.11,explained_object_matching=0.06,dense_object_matching=0.04,explained_caption_matching=0.05,dense_caption_matching=0.03,explained_region_overlap=0.05,dense_region_overlap=0.03,dense_object_localization=0.02,dense_referring_expression_grounding=0.03,dense_detection=0.01,dense_captioning=0.02,dense_grounding=0.02,dense_object_relationship=0.01,image_captioning=0.015"
EXPLAINED="dense_existence,dense_counting,explained_region_matching,explained_object_matching,explained_caption_matching,explained_region_overlap"

# curriculum: the three stages, the last one into `pretrained`.
curriculum() {
  local quarter=$(((PRETRAIN_UPDATES + 3) / 4)) MAX_UPDATE easy=""
  [[ ":$DATA:" != */easy_vqa:* ]] || easy=",easy_vqa=0.03" # where the data have it
  MAX_UPDATE="$quarter"
  stage pretrained-1 "" --num-instructions 1 --tasks "$DENSE,$SINGLE" --task-shares "$SHARES_1"
  stage pretrained-2 "$(made pretrained-1)" --num-instructions 1 --tasks "group:pretraining,$SINGLE" \
    --exclude-tasks "$EXPLAINED" --task-shares "$SHARES_2$easy"
  MAX_UPDATE=$((2 * quarter))
  stage pretrained "$(made pretrained-2)" --num-instructions 1 --tasks "group:pretraining,$SINGLE" --task-shares "$SHARES_3$easy"
}
