"""What survives: random kills."""
