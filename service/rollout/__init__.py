"""Roll-outs on the wire and in the terminal."""
