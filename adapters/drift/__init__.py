"""Drift as counts and statistics: what is answered now against what was answered of held-out examples."""
