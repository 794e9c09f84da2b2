"""What one connection, one request's head and one body may cost: kept before any route is looked for."""
