"""What is kept: rows (SQLAlchemy on SQLite or Postgres), blobs (obstore on a folder or S3), cached embeddings."""
