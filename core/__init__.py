"""What every other package may rely on: the error people meet, the data folder, reading and writing audio."""
