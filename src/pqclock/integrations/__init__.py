"""What surrounds runs and hears of failures, made for other libraries. Nothing here is loaded before you import it.

django        connections_handed_back            Django's connections, as between two requests
sqlalchemy    sessions_handed_back(registry)     sessions of a scope, removed after each run
sentry        sentry(app)                        a scope, a transaction and the failures of each run
logging       JobFields                          the id, task and attempt on every log record of a job
"""
