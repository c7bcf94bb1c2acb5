"""Transcripts as their readers see them: pages, search, answers, summaries, translations."""
