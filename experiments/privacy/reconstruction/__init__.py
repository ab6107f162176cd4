"""Rebuilding images from an update: by matching its gradient, and by division."""
