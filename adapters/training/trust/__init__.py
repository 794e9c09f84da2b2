"""What a head says of its own answers: calibrated probabilities, novelty, terms."""
