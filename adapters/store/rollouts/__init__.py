"""Roll-outs in the database: the last one of each head, its counts, and its events.

A transaction takes rows in this order: the candidate's version, the alias `live`, the roll-out, the generation.
"""
