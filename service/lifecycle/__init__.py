"""The last moments of a serving process: requests answered to the end."""
