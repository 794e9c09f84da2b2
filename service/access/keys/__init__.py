"""API keys: made and ended (`administration`), proven (`keyring`), and what their text is (`minting`)."""
