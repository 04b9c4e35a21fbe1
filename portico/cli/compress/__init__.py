"""`portico compress`: write compressed copies beside the files of a site."""
