"""`unseen audit`: proves from a recorded run that it encrypted.

`record` reads the folder, `transcript` sorts its messages into rounds, `messages`,
`metadata`, `rounds` and `sums` are the checks, `verdict` lists and prints them.
"""
