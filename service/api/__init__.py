"""Public HTTP: one file a resource, routes that translate and delegate."""
