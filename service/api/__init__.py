"""HTTP at the door: one file a resource, routes that translate and delegate."""
