"""The speakers of a recording: found by channel, by pyannote if installed, or by voice embeddings."""
