"""Who may: rows of API keys. Secrets are in none of them."""
