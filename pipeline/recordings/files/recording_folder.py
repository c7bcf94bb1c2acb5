"""Names of the files in the folder of a recording. Each exists once it has been made."""

RECORDINGS = "audio"  # below the user's data; it has a folder for each recording

AUDIO = "audio.flac"  # 16 kHz
WAVEFORM = "waveform.json"  # peaks for display
TRANSCRIPT = "transcript.json"
TEXT = "transcript.txt"
SUMMARY = "summary.json"
POLISHED = "polished.json"  # cleaned up by the language model
POLISHED_TEXT = "polished.txt"
TRANSLATIONS = "translations"  # folder of <language>.json
GIVEN_TEXT = "given.txt"  # the user's text of the recording, for training
