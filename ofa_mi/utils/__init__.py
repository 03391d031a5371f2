"""What any package may use: files, JSON, hashes, progress, randomness, worker processes.

Nothing here knows what an instance or a model is.
"""
