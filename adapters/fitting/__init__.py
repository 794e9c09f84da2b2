"""What fits share: forms of their inputs, and shrunken covariances."""
