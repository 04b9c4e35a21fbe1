"""How clients change what is served: PUT, POST, DELETE, and uploads that can be resumed."""
