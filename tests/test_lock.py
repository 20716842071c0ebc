"""The lock on other machines: for each of them every package has a wheel, so that nobody needs a compiler."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

PACKAGES = tomllib.loads((Path(__file__).parent.parent / "uv.lock").read_text())["package"]
# Comes as its source alone, which is Python alone.
PURE = {"agora-token-builder"}


def linux_platforms(machine: str) -> list[str]:
    """The platforms whose wheels run where glibc is 2.31: Debian 11, Ubuntu 20.04 and whatever is newer."""
    years = [f"manylinux{year}_{machine}" for year in ("2014", "2010", "1")]
    return [f"manylinux_2_{minor}_{machine}" for minor in range(31, 4, -1)] + years


MACHINES = {
    "macOS 13 on Apple silicon": ("darwin", "arm64", list(mac_platforms((13, 0), "arm64"))),
    "Linux on x86-64": ("linux", "x86_64", linux_platforms("x86_64")),
    "Linux on ARM": ("linux", "aarch64", linux_platforms("aarch64")),
}


@pytest.mark.parametrize("minor", [11, 12])
@pytest.mark.parametrize("name", MACHINES)
def test_every_locked_package_has_a_wheel(name: str, minor: int) -> None:
    system, machine, platforms = MACHINES[name]
    tags = {*cpython_tags((3, minor), platforms=platforms), *compatible_tags((3, minor), f"cp3{minor}", platforms)}
    here = {"sys_platform": system, "platform_machine": machine, "python_full_version": f"3.{minor}.9"}

    def meant(package: dict[str, Any]) -> bool:
        markers = package.get("resolution-markers", [])
        return "registry" in package["source"] and (not markers or any(Marker(marker).evaluate(here) for marker in markers))

    def fits(wheel: dict[str, Any]) -> set[Tag]:
        return tags & parse_wheel_filename(wheel["url"].rpartition("/")[2])[3]

    assert {p["name"] for p in PACKAGES if meant(p) and not any(map(fits, p.get("wheels", [])))} == PURE
