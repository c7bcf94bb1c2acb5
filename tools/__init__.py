"""The wheel's command, the audit of the pins, and the documentation site."""
