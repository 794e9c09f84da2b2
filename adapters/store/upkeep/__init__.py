"""What is due: rows and versions that go, and the room that they took."""
