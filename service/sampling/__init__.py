"""Hard inputs on the wire and in the terminal, and how labels make a job of them."""
