"""Quotas and rates: what a tenant and a key may have and ask, how much they use, and shares of rates over processes."""
