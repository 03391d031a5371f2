"""What can be wrong with an answer in words, before it is scored; apart from what needs a model."""

EMPTY, NO_REGION, CUT = "empty", "no region", "cut off"
TROUBLES = {  # by the name that a prediction records: what a remark says of such answers
    CUT: "were cut off at the longest length (--max-len)",
    EMPTY: "say nothing",
    NO_REGION: "hold no region in the form that was asked for",
}
