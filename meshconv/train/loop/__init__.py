"""Around a training: schedule, precision, processes, and what a run keeps in its folder."""
