"""The floor that decides: pure functions and values.

No input or output, no clock, no randomness: every time is an argument, every answer a value. What a rule decided is
written down by the store and carried out by the clock and the worker.
"""
