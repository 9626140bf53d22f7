"""`python -m web.screenshots FOLDER`: every page, light and dark and on a phone, of a database with something of everything."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from pqclock import embedded
from pqclock.store import migrate
from pqclock.store.database import connect
from web.browsing import browser, dashboard
from web.seed import fill
from web.test_browser import addresses


def main(folder: Path) -> None:
    """Take them."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp()) / ".pqclock"
    server = embedded.start(place, durable=False)
    try:
        session = connect(server.url, "pqclock", "test")
        migrate.migrate(session)
        seed = fill(session)
        session.close()
        with dashboard(server.url) as address, browser() as chrome:
            for name, options in (
                ("light", {"color_scheme": "light", "viewport": {"width": 1440, "height": 900}}),
                ("dark", {"color_scheme": "dark", "viewport": {"width": 1440, "height": 900}}),
                ("phone", {"color_scheme": "light", "viewport": {"width": 390, "height": 844}}),
            ):
                given: dict[str, Any] = options
                context = chrome.new_context(base_url=address, **given)
                page = context.new_page()
                for number, one in enumerate(addresses(seed)):
                    page.goto(f"/{one}")
                    page.screenshot(path=folder / f"{name}-{number:02}-{one.partition('?')[0]}.png", full_page=True)
                context.close()
    finally:
        server.close()
        embedded.erase(place)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
