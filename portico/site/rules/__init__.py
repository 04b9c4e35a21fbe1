"""The site's own rules, which the files _redirects and _headers have."""
