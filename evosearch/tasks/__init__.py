"""Tasks: what networks learn while a rule governs them; one file and one class a task."""
