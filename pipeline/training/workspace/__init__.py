"""The folders of a run, and the objects that its stages share."""
