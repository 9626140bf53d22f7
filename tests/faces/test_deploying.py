"""The files of `examples/deploy/`: units, image and manifests name only what there is."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT
from faces.test_docs import parse
from pqclock.cli.root import root
from pqclock.health import LIVE, READY
from pqclock.settings import SPECS, load, variable

PLACE = ROOT / "examples" / "deploy"
VARIABLES = {variable(name): name for name in SPECS}


def is_a_command(words: list[str], folder: Path) -> None:
    """What follows `pqclock` parses, down to its settings."""
    context = parse(root, "pqclock", words)
    load({name: value for name, value in context.params.items() if name in SPECS}, environ={}, folder=folder)


@pytest.mark.parametrize("unit", sorted(PLACE.glob("*.service")), ids=lambda path: path.name)
def test_units(unit: Path, tmp_path: Path) -> None:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(unit.read_text())
    service = parser["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program.endswith("/pqclock")
    is_a_command(words, tmp_path)
    assert service["Type"] == "notify" and int(service["WatchdogSec"]) >= 30
    if words[0] == "worker":
        assert service["KillMode"] == "mixed" and int(service["TimeoutStopSec"]) > 30


def manifests() -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((PLACE / "kubernetes.yaml").read_text()) if one]


def test_manifests(tmp_path: Path) -> None:
    pods = [one["spec"]["template"]["spec"] for one in manifests() if one["kind"] == "Deployment"]
    assert len(pods) == 2
    for pod in pods:
        (container,) = pod["containers"]
        is_a_command([word for word in container.get("args", []) if word != "pqclock"], tmp_path)
        environ = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert set(environ) <= set(VARIABLES) | {"PQCLOCK_DATABASE_URL"}
        load(environ={name: value for name, value in environ.items() if value}, folder=tmp_path)
        port = environ["PQCLOCK_HEALTH"].rpartition(":")[2]
        for probe, path in (("livenessProbe", LIVE), ("readinessProbe", READY)):
            asked = container[probe]["httpGet"]
            named = {one.get("name"): str(one["containerPort"]) for one in container.get("ports", [])}
            assert asked["path"] == path and named.get(asked["port"], str(asked["port"])) == port
        assert container["args"][0] == "clock" or pod["terminationGracePeriodSeconds"] > 30


def test_the_image(tmp_path: Path) -> None:
    text = (PLACE / "Dockerfile").read_text()
    check = re.search(r"HEALTHCHECK .* CMD \[(.*?)\]", text)
    command = re.search(r"^CMD \[(.*?)\]", text, re.MULTILINE)
    assert check is not None and command is not None
    for found in (check[1].replace('"pqclock", ', ""), command[1]):
        is_a_command([word.strip().strip('"') for word in found.split(",")], tmp_path)
    named = set(re.findall(r"\b(PQCLOCK_[A-Z_]+)=", text))
    assert named and named <= set(VARIABLES)


def test_alert_rules_are_yaml() -> None:
    rules = yaml.safe_load((ROOT / "examples" / "monitoring" / "alerts.yaml").read_text())
    assert all(set(rule) == {"alert", "expr", "for", "labels", "annotations"} for rule in rules["groups"][0]["rules"])
