"""Two versions on examples that neither learned from: the gate's test, and what serving tells of any two versions.

numpy and a head's own graph only, so that the serving process may use it.
"""
