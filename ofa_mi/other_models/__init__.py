"""Models that are not OFA, asked the same questions: behind an OpenAI-like server, or in a folder of `transformers`.

In the order of the flow: `regions` (how a box is written, and read back), `messages` (a question as such a model reads
it, its answer as scores read it), `troubles`
(what can be wrong with it), `model` (what both kinds share), `served` and `local` (the two kinds).
"""

REGION_FORMS = ("pixels", "thousandths", "drawn")  # the names in `regions`; here, where a command line finds them fast
