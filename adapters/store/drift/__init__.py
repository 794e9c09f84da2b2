"""Drift in the database: counts of answers by version and hour."""
