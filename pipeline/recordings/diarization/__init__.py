"""The speakers of a recording: by channel, by pyannote if installed, or by voice embeddings."""
