"""Where a run is kept: its folders, and the objects that its stages share."""
