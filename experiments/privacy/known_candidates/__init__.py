"""E5: which of two known mails did a client send, from the opened sum alone?"""
