"""The process that holds the models for recordings, and its client."""
