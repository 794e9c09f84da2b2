"""What comes in: bodies, forms, archives and manifests, until they are labeled items or jobs."""
