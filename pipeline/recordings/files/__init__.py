"""Files of recordings: their folder, audio and video that is opened, audio for workers."""
