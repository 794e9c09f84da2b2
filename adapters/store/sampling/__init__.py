"""Hard inputs in the database: for which heads they are kept (`switches`), what is kept (`samples`), and how new ones
come in (`merging`)."""
