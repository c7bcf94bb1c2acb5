"""Transcripts as data: words, speakers, captions, the words that people have corrected."""
