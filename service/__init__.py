"""HTTP, processes, people. Knows BentoML, FastAPI, status codes, the environment; knows no tensors."""

__version__ = "0.1.0"
