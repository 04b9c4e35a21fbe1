"""What `portico check` looks for, a module for each concern."""
