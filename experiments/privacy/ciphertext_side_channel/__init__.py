"""E2: the parts of `experiments.ciphertext_side_channel`."""
