"""The server over HTTP: where it listens, who may use it, what it refuses, and how it ends."""
