"""Files on their way into recordings: in chunks or whole."""
