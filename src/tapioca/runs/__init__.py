"""The notebook: what was asked, and every answer as it was found."""
