"""Data directories in the forms that other people's trainers and evaluation tools read."""
