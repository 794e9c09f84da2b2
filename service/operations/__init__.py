"""What an operator needs: backups, moving to other stores, garbage collection, logs and traces."""
