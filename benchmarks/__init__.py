"""Speed, as ratios within one run against a stated limit. `make bench` runs all of it; nothing here is a test."""
