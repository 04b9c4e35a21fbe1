"""The command line: `portico [DIR]` serves; `check`, `compress` and `explain` help with a site."""
