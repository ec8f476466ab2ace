"""What to try next. Searches are asked for plans and told scores; they hold no model."""
