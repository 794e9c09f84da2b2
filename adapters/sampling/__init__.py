"""Hard inputs that are kept for labeling: which, and how many. Nothing here asks a database or a clock."""
