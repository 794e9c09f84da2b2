"""Rates and quotas: who asks too much is told so with 429, and when to come back."""
