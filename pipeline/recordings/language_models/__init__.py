"""Language models: a server's, and small ones on this machine."""
