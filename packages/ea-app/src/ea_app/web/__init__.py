"""What the studio and the REST server have in common: who may ask, and what may be sent.

`access` has the token, the lock-out and the rules of where a server may listen, `limits` the bounds of
requests, and `reader` the process in which files of strangers are opened.
"""
