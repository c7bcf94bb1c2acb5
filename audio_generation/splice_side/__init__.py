"""splice (Apache-2.0, like Hark): unit selection, which assembles sentences from recordings of real people."""

SPLICE = "splice"  # the engine whose voices are units of real people's recordings
LIBRARY_MODEL = "splice library"  # ``Voice.model`` of the people in the library
