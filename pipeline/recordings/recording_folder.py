"""The files in the folder of a recording, each present once it has been made."""

RECORDINGS = "audio"  # below the user's data: a folder for each recording

AUDIO = "audio.flac"  # 16 kHz
WAVEFORM = "waveform.json"  # peaks to draw
TRANSCRIPT = "transcript.json"
TEXT = "transcript.txt"
SUMMARY = "summary.json"
POLISHED = "polished.json"  # cleaned up by the language model
POLISHED_TEXT = "polished.txt"
TRANSLATIONS = "translations"  # a folder: <language>.json
GIVEN_TEXT = "given.txt"  # the user's text of the recording, to train from
