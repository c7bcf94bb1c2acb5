"""What to say: a keyphrase turned into texts for positives and for every kind of negative. Text only, no audio."""
