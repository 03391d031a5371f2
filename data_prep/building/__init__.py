"""Data directories: the candidates of sources on disk, which of them are kept, and what is written."""
