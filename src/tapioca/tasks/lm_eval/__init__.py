"""Tasks of lm-evaluation-harness; nothing else imports it."""
