"""Worker and clock inside a process that is somebody else's, such as a web server's: threads that start and stop.

They set no signal handlers, and never end the process. `start()` checks what can be checked and raises, later troubles
are logged and tried again. At the end of the interpreter what still runs is stopped in order.

A fork takes no thread along. What was started before it runs on in the parent, and only there; the child says so in
its log, closes what it inherited without a word to the server, and may start its own.
"""
