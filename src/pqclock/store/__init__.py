"""The floor that remembers, and the only one that speaks SQL.

One verb is one transaction. Statements live in `.sql` files by subject, one named statement a verb, beside the module
that runs them. Every write of a state names the state (and the lease) that it expects: zero rows mean that another was
first, and are not an error. A statement that needs the time takes `now`: the given one, else the database's.
"""
