"""The origin of the files: a folder on disk, behind the protocol `Origin`."""
