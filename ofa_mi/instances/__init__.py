"""Instances: one of them, files of them, and their images. Nothing here knows of instructions or token ids."""
