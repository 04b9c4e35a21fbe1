"""Every socket, process and thread: the floor that moves bytes and keeps time."""
