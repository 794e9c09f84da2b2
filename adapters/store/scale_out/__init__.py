"""Parts of one job that several workers do side by side: who has which, and what became of it (`shards`)."""
