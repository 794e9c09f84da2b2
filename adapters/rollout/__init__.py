"""Roll-outs as facts and statistics: who answers a request, what was counted, and what that allows to decide.

Nothing here asks a database, a graph or a clock.
"""
