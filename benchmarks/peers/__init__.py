"""Other ways to serve the same heads, each as its documentation advises, and Espalier beside them in one run."""
