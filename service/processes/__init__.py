"""What runs: the supervisor, serving processes, workers, and what they need to start and to end."""
