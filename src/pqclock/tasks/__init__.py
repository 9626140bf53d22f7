"""The user's verbs: register a task, enqueue a job, and what a running handler may ask or raise.

A task is a name for a function. Data names tasks, never Python objects: what a job runs is looked up in the registry of
the worker's app, and nowhere else.
"""
