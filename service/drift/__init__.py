"""Drift on the wire and in the terminal."""
