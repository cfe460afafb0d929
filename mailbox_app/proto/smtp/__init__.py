"""SMTP without input or output: replies, commands and their parameters, the stream of DATA.

* `replies`: what a server answers, and `Refusal`, the error that carries such an answer.
* `commands`: verb and argument of a line; MAIL and RCPT with their ESMTP parameters; xtext.
* `dot_stream`: DATA content out of chunks of any size, and the check for bare CR, bare LF and NUL.
"""
