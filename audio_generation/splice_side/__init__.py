"""splice (Apache-2.0, as Hark): new sentences assembled from recordings of real people."""

SPLICE = "splice"  # the engine whose voices are pieces of real people's recordings
LIBRARY_MODEL = "splice library"  # ``Voice.model`` of the library's people
