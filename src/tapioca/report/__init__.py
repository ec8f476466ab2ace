"""Records become charts, pages and screens; no torch, so a report opens on any laptop, years later."""
