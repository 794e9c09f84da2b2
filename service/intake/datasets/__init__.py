"""What comes in labeled → items: inputs with labels, archives, folders on disk, and manifests."""
