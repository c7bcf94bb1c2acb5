"""The start of transcriptions: recordings, their jobs, the words that they expect."""
