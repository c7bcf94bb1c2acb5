"""A user's recordings: transcripts, speakers, summaries, and answers to questions."""
