"""HTTP for any portal, without users: requests, bodies and responses."""
