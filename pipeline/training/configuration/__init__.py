"""The choices for a run, checked and completed; its folders, and the objects that its stages share."""
