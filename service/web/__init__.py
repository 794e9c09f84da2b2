"""What people see in a browser: the report of a version as a page, with its charts."""
