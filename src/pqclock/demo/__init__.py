"""Something to watch: a sample schedule, its tasks, and a live view of ticks on their way."""
