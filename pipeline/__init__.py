"""The work of Hark, room by room, without Django."""
