"""Ask the process that serves health here, as containers do."""

from __future__ import annotations

import click

from pqclock.cli.options import Asked, asking
from pqclock.cli.root import EXIT_CODES

# Whoever does not answer within this time is not well.
PATIENCE = 5.0


@click.command(epilog=EXIT_CODES)
@click.option("--live", is_flag=True, help="Only ask whether its loops turn, not whether they reach the database.")
@asking("health")
def healthcheck(asked: Asked, live: bool) -> int:
    """Ask the clock or worker that runs here with --health: 0 when it is ready, 1 when it is not or does not answer.

    \b
    Examples:
      pqclock healthcheck --health 127.0.0.1:8081
      HEALTHCHECK CMD ["pqclock", "healthcheck"]      (in a Dockerfile, with PQCLOCK_HEALTH set)
    """
    from pqclock.cli.output import print_json
    from pqclock.errors import SettingsError
    from pqclock.health import LIVE, READY
    from pqclock.rules.listening import parse_endpoint

    if asked.settings.health is None:
        raise SettingsError(
            ["health is not set: give --health or PQCLOCK_HEALTH the same value as to the process that is asked"]
        )
    endpoint = parse_endpoint(asked.settings.health).nearest
    path = LIVE if live else READY
    well, answer = _ask(f"http://{endpoint}{path}")
    if asked.json:
        print_json("health", [{"well": well, "answer": answer, "url": f"http://{endpoint}{path}"}])
    else:
        click.echo(answer, err=not well)
    return 0 if well else 1


def _ask(url: str) -> tuple[bool, str]:
    from urllib.error import HTTPError, URLError
    from urllib.request import ProxyHandler, build_opener

    # It is this machine that is asked, whatever proxy there is for others.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(url, timeout=PATIENCE) as answer:
            return True, answer.read(1_000).decode(errors="replace").strip()
    except HTTPError as error:
        return False, error.read(1_000).decode(errors="replace").strip() or f"{url} answers {error.code}"
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        return False, f"{url} does not answer ({reason}): is a process with this --health running here?"
