"""What comes in labeled → items: images with labels, archives, folders on disk, and manifests."""
