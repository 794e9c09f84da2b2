"""Routes that answer for inputs: predict, embed, suggest, and BentoML's own clients."""
