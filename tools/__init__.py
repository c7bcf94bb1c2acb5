"""The wheel's command, the audit of the pins, and the site of the documents."""
