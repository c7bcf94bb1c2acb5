"""Training and packing of the weights and data that ship."""
