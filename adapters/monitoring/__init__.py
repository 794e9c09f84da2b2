"""What is seen of answers while they are given: whose turn a request is in a roll-out, counts, and comparisons.

Requests only count in memory. What asks a graph again or the database does so in threads of its own.
"""
