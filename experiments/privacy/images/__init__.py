"""Attacks on images: the victims, what is public, the networks and their gradients."""
