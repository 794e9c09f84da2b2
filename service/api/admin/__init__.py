"""What administrators ask for: quotas of tenants and keys, and who has changed what."""
