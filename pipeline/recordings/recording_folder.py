"""The files in the folder of a recording. Each exists as soon as it is made."""

RECORDINGS = "audio"  # below the user's data: a folder for each recording

AUDIO = "audio.flac"  # 16 kHz
WAVEFORM = "waveform.json"  # peaks to draw
TRANSCRIPT = "transcript.json"
TEXT = "transcript.txt"
SUMMARY = "summary.json"
POLISHED = "polished.json"  # as the language model writes it
POLISHED_TEXT = "polished.txt"
TRANSLATIONS = "translations"  # a folder: <language>.json
GIVEN_TEXT = "given.txt"  # what the user says was said, to train from
