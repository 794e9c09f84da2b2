"""What serving processes know of each other: who lives and what it serves (`registry`), and that something changed
(`notices`)."""
