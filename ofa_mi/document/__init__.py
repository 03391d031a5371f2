"""What a report and a data card are made of. Knows nothing of what is shown."""
