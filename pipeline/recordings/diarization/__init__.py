"""Who speaks when in a recording: by channel, by pyannote where it is installed, or by voice embeddings."""
