"""The work of Hark, one folder per field, without Django."""
