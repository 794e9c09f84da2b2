"""The examples of a job: where they come from, how they are split, and what is odd about them."""
