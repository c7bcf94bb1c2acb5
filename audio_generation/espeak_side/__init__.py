"""espeak-ng (GPL-3): formant synthesis of about a hundred languages, loaded by ctypes in its own process."""
