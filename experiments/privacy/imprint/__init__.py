"""A server that picks the model: traps for images, and what the platform refuses."""
