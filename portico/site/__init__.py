"""What is served, and by which rules. This layer opens files, and never a socket.

It takes a parsed request and returns a complete response. It imports only from `portico.http`,
`portico.config` and `portico.bounded`.
"""
