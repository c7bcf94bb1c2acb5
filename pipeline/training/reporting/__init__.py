"""The report on a detector: figures, sentences, verdict, model card."""
