"""Detectors in the files that other people's devices load: microWakeWord's (ESPHome) and openWakeWord's."""
