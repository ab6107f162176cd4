"""The book's spam model as a target: mails, what they do to it, and lists of words."""
