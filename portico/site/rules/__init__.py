"""The site's own rules: the files _redirects and _headers."""
