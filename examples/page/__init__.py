"""A page and the socket that it talks to, on one port."""
