"""Live transcription over WebSocket."""
