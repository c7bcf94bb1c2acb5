"""The People's Speech: real transcribed speech from a corpus of thousands of hours, streamed up to a limit."""
