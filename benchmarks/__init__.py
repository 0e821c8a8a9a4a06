"""What a message costs the server, next to what it costs the others."""
