"""Content that is made here: error pages, listings, redirects."""
