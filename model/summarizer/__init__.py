"""The character summarizer: a small Transformer that reads a text and writes its headline, character by character."""
