"""What a run says of its detector: figures, words, verdict, model card."""
