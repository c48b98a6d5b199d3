"""What the API server takes and refuses: a table of runs, and a way to ask a real one."""
