"""Planning: a run's options, advice on the phrase, and the clips and voices that it will use."""
