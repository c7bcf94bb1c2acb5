"""The bundle, its model card, and the devices that take its files."""
