"""Compressed copies of text files, made in the background."""
