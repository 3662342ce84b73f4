"""Files that a user begins with: an experiments.yaml, an experiment of their own."""
