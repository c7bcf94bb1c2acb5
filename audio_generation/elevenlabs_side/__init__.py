"""ElevenLabs: a paid service, used only when named, within a limit of characters."""
