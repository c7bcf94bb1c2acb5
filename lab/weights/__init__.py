"""What makes the weights and data that ship."""
