"""Rates and quotas at the door: who asks too much is told so with 429, and when to come back."""
