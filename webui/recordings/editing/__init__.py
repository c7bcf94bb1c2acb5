"""Changes of transcripts by their users: words, passages, speakers, undo."""
