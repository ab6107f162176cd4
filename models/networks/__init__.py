"""The networks, one file for each kind of data, and their parameters as arrays."""
