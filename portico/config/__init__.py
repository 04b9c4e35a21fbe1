"""The options, and the configuration that they make together."""
