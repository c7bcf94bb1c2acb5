"""The secret key of the portal, and secrets sealed with it."""
