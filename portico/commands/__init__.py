"""The commands besides serving: each module has `run(argv)`, which returns an exit code."""
