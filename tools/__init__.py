"""The wheel's command, the audit of pinned packages, and the documentation site."""
