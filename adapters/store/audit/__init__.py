"""The audit log: every change with who made it, written in the transaction of the change, chained, append-only."""
