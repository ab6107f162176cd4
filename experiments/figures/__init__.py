"""The figures of the README: every accuracy in them is that of an encrypted run."""
