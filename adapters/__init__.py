"""Everything that adapts a frozen backbone: a library without HTTP, usable from a notebook."""
