"""Detectors in the file formats of other projects' devices: microWakeWord (ESPHome) and openWakeWord."""
