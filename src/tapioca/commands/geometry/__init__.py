"""The layerwise geometry of ID and OOD data."""
