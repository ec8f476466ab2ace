"""The polynomial lab: functions, shifts, and learners trained to continue them in context."""
