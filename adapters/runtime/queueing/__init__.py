"""What waits for the backbone: how much is let in, whose turn it is, and the threads that do it."""
