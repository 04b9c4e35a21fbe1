"""What the server reports: the access log and the metrics."""
