"""The Ray engine: a run's clients in a few actors in place of a process each."""
