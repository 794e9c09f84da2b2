"""A serving process among others: it tells that it lives (`heartbeat`), and waits for the others (`everywhere`)."""
