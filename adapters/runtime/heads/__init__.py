"""Heads in memory: loaded from the store, followed as they change, and asked."""
