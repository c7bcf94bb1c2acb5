"""What the portal tells about each request and job: log lines and traces."""
