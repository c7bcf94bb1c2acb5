"""Log lines and traces of each request and job."""
