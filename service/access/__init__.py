"""Who may ask: what is refused before any route is looked for."""
