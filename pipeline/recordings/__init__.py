"""A user's recordings: transcribed, speakers told apart, summarized, asked."""
