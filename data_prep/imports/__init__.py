"""Data that others have made ready, as data directories: the public release, easy-VQA, Natural Instructions."""
