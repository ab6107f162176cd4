"""Was this image in the training data? Many networks in one batch, and two attacks."""
