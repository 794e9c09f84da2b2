"""Bytes by their SHA-256, in a folder or a bucket, and which of them are needed."""
