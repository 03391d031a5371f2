"""The ways to decode an answer; apart from :mod:`predictor`, because a command line is read without a model."""

MODES = ("generate", "constrained", "rank")
