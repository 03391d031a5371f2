"""From a model's logits to answers.

In the order of the flow: `modes` (the ways to decode), `trie` (what may be said), `beam` and `ranking` (what the model
says), `kinds` (how a kind of answer is searched for), `predictor` (questions in, answers out).
"""
