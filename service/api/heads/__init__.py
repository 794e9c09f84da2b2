"""Routes of a head: its versions and aliases, its data, what it is asked, and roll-outs."""
