"""What operators ask: health, metrics, and which serving processes live."""
