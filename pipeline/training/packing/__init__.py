"""The bundle, and the devices that take its files."""
