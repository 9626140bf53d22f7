"""Jobs over HTTP: 202 with the address of a status, which leads to the result. For ASGI and WSGI, without dependencies.

statuses = Statuses(app, path="/jobs")      # mount it there
return statuses.accepted(nightly.job(day=day), headers=request.headers)
"""

from __future__ import annotations

from pqclock.http.answers import Answer
from pqclock.http.lifespan import Lifespan
from pqclock.http.statuses import Statuses

__all__ = ["Answer", "Lifespan", "Statuses"]
