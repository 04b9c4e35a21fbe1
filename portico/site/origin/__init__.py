"""Where files come from: the folder on disk, behind a small protocol."""
