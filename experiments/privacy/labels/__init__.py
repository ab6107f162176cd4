"""Reading labels from the last layer of an update."""
