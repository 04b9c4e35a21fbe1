"""Content that the server itself makes: error pages, listings, redirects."""
