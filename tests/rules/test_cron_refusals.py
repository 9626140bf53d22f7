"""What is no schedule: each form refused with the spelling that works."""

from __future__ import annotations

import pytest

from pqclock.errors import CronError
from pqclock.rules.cron import Cron

REFUSED = [
    ("", "empty"),
    (" \t ", "empty"),
    ("* * * *", "has 4 fields: write five"),
    ("* * * * * * 2027", "no year field, `start` and `end`"),
    ("0 0 12 1/5 * ? *", "no year field"),
    ("0 2 * * * root /usr/bin/report", "leave out a user, a command"),
    ("0 2 * * * root", "weekday field does not take 'ROOT'"),
    ("0 2 * * * # nightly", "a comment does not belong in it"),
    ("0 2 * * * #nightly", "a comment does not belong"),
    ("* * * * *\n", "spaces or tabs"),
    ("0 0\x0b* * *", "'\\x0b'"),
    ("0 0\xa0* * *", "ASCII"),
    ("٣ 0 * * *", "ASCII"),
    ("0 0 * * MÖN", "ASCII"),
    ("60 * * * *", "minute field does not take '60': write 0 to 59"),
    ("* 24 * * *", "hour field does not take '24': write 0 to 23"),
    ("* * 0 * *", "day field does not take '0': write 1 to 31"),
    ("* * 32 * *", "write 1 to 31"),
    ("* * * 0 *", "write 1 to 12 or JAN to DEC"),
    ("* * * 13 *", "write 1 to 12 or JAN to DEC"),
    ("* * * * 8", "write 0 to 7 (0 and 7 are Sunday) or SUN to SAT"),
    ("60 * * * * *", "second field does not take '60'"),
    ("-1 * * * *", "minute field does not take '-1'"),
    ("1.5 * * * *", "does not take '1.5'"),
    ("0 22-2 * * *", "write 22-23,0-2"),
    ("0 23-0 * * *", "write 23,0"),
    ("0 23-1/2 * * *", "write 23,1"),
    ("50-10/7 * * * *", "write 50,57,4"),
    ("0 0 * NOV-FEB *", "write NOV-DEC,JAN-FEB"),
    ("0 0 * 11-2 *", "write 11-12,1-2"),
    ("0 0 28-3 * *", "write 28-31,1-3"),
    ("0 0 * * FRI-MON", "write FRI-SAT,SUN-MON"),
    ("0 0 * * 5-0", "write 5-7"),
    ("0 0 * * 7-2", "write 0-2"),
    ("*/0 * * * *", "a step is 1 or more"),
    ("5-10/0 * * * *", "a step is 1 or more"),
    ("*/60 * * * *", 'every = "60m"'),
    ("*/90 * * * *", 'every = "90m"'),
    ("0 */24 * * *", 'every = "24h"'),
    ("*/60 * * * * *", 'every = "60s"'),
    ("*/99999999999999999999 * * * *", "`every`"),
    ("1, * * * *", "leave the comma out"),
    (", * * * *", "leave the comma out"),
    ("1,,2 * * * *", "leave the comma out"),
    ("*-5 * * * *", "`*` has no end"),
    ("*5 * * * *", "does not take '*5'"),
    ("5- * * * *", "does not take '5-'"),
    ("5/ * * * *", "does not take '5/'"),
    ("/5 * * * *", "does not take '/5'"),
    ("1-2-3 * * * *", "does not take '1-2-3'"),
    ("1/2/3 * * * *", "does not take '1/2/3'"),
    ("JAN * * * *", "minute field does not take 'JAN'"),
    ("0 0 JAN * *", "day field does not take 'JAN'"),
    ("0 0 * MON *", "month field does not take 'MON'"),
    ("0 0 * * JAN", "weekday field does not take 'JAN'"),
    ("0 0 * * MONDAY", "write MON"),
    ("0 0 * * Monday-Friday", "write MON-FRI"),
    ("0 0 * JANUARY *", "write JAN"),
    ("0 0 * SEPT *", "write SEP"),
    ("? * * * *", "in the two day fields only"),
    ("0 0 * ? *", "in the two day fields only"),
    ("0 0 1,? * *", "`?` stands alone"),
    ("0 0 ?/2 * *", "`?` stands alone"),
    ("0 0 ? * 2", "2 is Monday in Quartz"),
    ("0 0 ? * MON-5", "write names"),
    ("0 0 ? * 2#1", "write names"),
    ("0 0 ? * 6L", "write names"),
    ("H H * * *", "set `spread`"),
    ("H/15 * * * *", "set `spread`"),
    ("H(0-29) * * * *", "set `spread`"),
    ("R R * * *", "set `jitter`"),
    ("0~59 * * * *", "set `jitter`"),
    ("0 6 1-7 * +MON", "there is no `+`"),
    ("@reboot", "has no boot"),
    ("@every 5m", "`every ="),
    ("every 90 minutes", "`every ="),
    ("@dayly", "@daily"),
    ("@daily 5", "each alone"),
    ("@", "the nicknames"),
    ("TZ=UTC 0 0 * * *", "`timezone ="),
    ("CRON_TZ=Europe/Berlin 0 0 * * *", "`timezone ="),
    ("0 0 L5 * *", "5L"),
    ("0 0 * * L5", "write 5L"),
    ("0 0 * * LFRI", "write FRIL"),
    ("0 0 * * L", "alone stands in the day field"),
    ("0 0 W15 * *", "write 15W"),
    ("0 0 WL * *", "write LW"),
    ("0 0 5-L * *", "write 5-31"),
    ("0 0 L-3 * *", "not counted back"),
    ("0 0 15W,1 * *", "W stands alone"),
    ("0 0 1,15W * *", "W stands alone"),
    ("0 0 1-15W * *", "as in 15W"),
    ("0 0 32W * *", "write 1 to 31"),
    ("0 0 0W * *", "write 1 to 31"),
    ("0 0 W * *", "day field does not take 'W'"),
    ("0 0 5L * *", "stands in the weekday field"),
    ("0 0 2#1 * *", "stands in the weekday field"),
    ("0 0 * * 15W", "stand in the day field"),
    ("0 0 * * LW", "stand in the day field"),
    ("0 0 * * MON#6", "# and 1 to 5 or L"),
    ("0 0 * * MON#0", "# and 1 to 5 or L"),
    ("0 0 * * 1-5#2", "# and 1 to 5 or L"),
    ("0 0 * * #2", "does not take '#2'"),
    ("0 0 * * 8#2", "write 0 to 7"),
    ("L * * * *", "minute field does not take 'L'"),
    # no date ever
    ("0 0 30 2 *", "never comes"),
    ("0 0 31 2 *", "never comes"),
    ("0 0 31 4,6,9,11 *", "never comes"),
    ("0 0 30W 2 *", "never comes"),
    ("0 0 */31 2-2 1#2", "never comes"),
    ("0 0 */40 * 1#5", "never comes"),
]


@pytest.mark.parametrize(("expr", "hint"), REFUSED)
def test_refused_with_the_way_out(expr: str, hint: str) -> None:
    with pytest.raises(CronError) as caught:
        Cron(expr)
    assert hint in str(caught.value)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_256_characters_are_taken_and_no_more() -> None:
    assert Cron("0 0 * * *".ljust(256))
    with pytest.raises(CronError, match="256 characters"):
        Cron("0 0 * * *".ljust(257))


@pytest.mark.parametrize("value", [None, 5, b"* * * * *", ["*"], object()])
def test_a_value_of_another_type_is_refused(value: str) -> None:
    with pytest.raises(CronError, match="text of five or six fields"):
        Cron(value)
    with pytest.raises(CronError, match="IANA name"):
        Cron("* * * * *", value)
    with pytest.raises(CronError, match="gap does not take"):
        Cron("* * * * *", gap=value)
    with pytest.raises(CronError, match="fold does not take"):
        Cron("* * * * *", fold=value)
