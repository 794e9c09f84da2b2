"""Candidates, compared on the same folds; the best is fitted on all."""
