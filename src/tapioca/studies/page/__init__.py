"""What a study found, to be read; needs no torch."""
