"""Instructions and tasks: the registry, and rendering an instance into a prompt."""
