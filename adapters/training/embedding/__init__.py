"""Examples → embeddings, through the graph and decoder that serve."""
