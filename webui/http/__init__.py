"""HTTP as any portal needs it, without users: requests, bodies and answers."""
