"""Checking data directories: validation of every line and image, a data card, and how far answers can be guessed."""
