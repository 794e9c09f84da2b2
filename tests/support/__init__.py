"""What the tests share: pictures to learn from, and services to talk to."""
