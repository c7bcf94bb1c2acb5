"""ElevenLabs: a paid service, used only when named, within a character limit."""
