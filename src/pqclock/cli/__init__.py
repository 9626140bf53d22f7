"""The command `pqclock`: what people and scripts see of the floors below.

    entry        from arguments to an exit code
    root         the table of commands, each loaded only when it is called
    lazy         groups of commands with a default verb
    options      the options that commands share, made from the table of settings
    connection   the session of a command that reads
    faults       errors as one sentence, or as JSON
    output       JSON objects and tables; `console` draws them, `moments` writes times for people
    checking, coming, jobs, schedules, fleet, status, migrating   the commands; `roles` runs the processes

Data goes to stdout, messages go to stderr.
"""

from pqclock.cli.entry import main

__all__ = ["main"]
