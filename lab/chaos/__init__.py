"""What happens to a portal whose processes are killed, files damaged, people many."""
