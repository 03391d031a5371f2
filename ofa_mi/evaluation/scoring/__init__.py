"""Scores of a run from its predictions, how sure they are, and their comparison with other runs and with guessing."""
