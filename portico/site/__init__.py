"""The middle floor: what is served. The folder on disk, the answer to a request, and the pages.

Rule: it is handed a parsed request and gives back a complete response. It opens files and never a
socket.
Limit: this floor imports only from `portico.http`.
"""
