"""The generators, pinned: how each one is run, what it says, and which lines of that are warnings.

Node's packages are pinned by `package-lock.json` beside this file, Python's by `requirements.txt` (`uv pip compile` makes it of
`requirements.in`), and the generator of Dart, Kotlin and Swift by its version; it runs on the Java that the broker runs on.
What is fetched once is kept in `.venv/clients`.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.broker import java
from tests.sources import ROOT

HERE: Final = Path(__file__).parent
KEPT: Final = ROOT / ".venv" / "clients"
OPENAPI_GENERATOR: Final = "org.openapitools:openapi-generator-cli:7.14.0"
LANGUAGES: Final = {"dart": "Dart", "kotlin": "Kotlin", "swift6": "Swift"}
WARNING: Final = re.compile(r"\b(WARN|ERROR|warn(ing)?|error)\b|^Skipping|✘|⚠", re.IGNORECASE)
# openapi-generator says this of every API with an answer that is no application/json, such as a stream or problem+json: it
# makes no examples of those for its papers. Nothing of the client depends on it.
OF_NO_CONCERN: Final = ("No application/json content media type found in response. Response examples can currently only be",)


class MakerError(Exception):
    """A generator failed, or warned; the text has what it said."""


def warnings_in(said: str) -> list[str]:
    """The lines that are warnings."""
    lines = (line.strip() for line in said.splitlines())
    return [line for line in lines if WARNING.search(line) and not any(words in line for words in OF_NO_CONCERN)]


def run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a command says. Errors: MakerError, if it fails."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MakerError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def make(command: list[str], folder: Path) -> None:
    """Run a generator. Errors: MakerError, if it fails or warns."""
    if warnings := warnings_in(run(command, folder)):
        raise MakerError(f"{' '.join(command)} warns:\n" + "\n".join(warnings))


def node_packages() -> Path:
    """The folder with Node's packages; installs them once. Errors: MakerError."""
    folder, lock = KEPT / "node", HERE / "package-lock.json"
    if not (folder / "installed").is_file() or (folder / "package-lock.json").read_text() != lock.read_text():
        folder.mkdir(parents=True, exist_ok=True)
        for file in (lock, HERE / "package.json"):
            shutil.copy(file, folder)
        run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
        (folder / "installed").touch()
    return folder


def generator_jar() -> Path:
    """openapi-generator; fetched once."""
    import jgo

    found = jgo.build(OPENAPI_GENERATOR, cache_dir=KEPT / "jars")
    return next(found.path.rglob("openapi-generator-cli-*.jar"))


def in_clients(*command: str) -> list[str]:
    """A command line in an environment of its own, with the packages of `requirements.txt`."""
    packages = ["--with-requirements", str(HERE / "requirements.txt"), "--python", sys.executable]
    return [str(ROOT / ".uv" / "bin" / "uv"), "run", "--quiet", "--isolated", "--no-project", *packages, *command]


def make_by_openapi_generator(language: str, document: Path, folder: Path) -> None:
    """A client in Dart, Kotlin or Swift. Errors: MakerError."""
    options = ["generate", "-g", language, "-i", str(document), "-o", str(folder / language)]
    # The jar uses what Java 25 has marked for removal; that is said on the same stream as warnings.
    make([java(), "--sun-misc-unsafe-memory-access=allow", "-jar", str(generator_jar()), *options], folder)


def make_python(document: Path, folder: Path) -> None:
    """The package `olo_client`, and the phone beside it. Errors: MakerError."""
    shutil.copy(HERE / "phone.py", folder)
    options = ["--path", str(document), "--output-path", str(folder / "olo_client"), "--meta", "none", "--overwrite"]
    make(in_clients("openapi-python-client", "generate", *options), folder)


def make_typescript(document: Path, folder: Path) -> None:
    """`olo.ts`, and the phone beside it as JavaScript, all types checked. Errors: MakerError."""
    packages = node_packages()
    # Without the option, what has a default would have to be sent.
    options = ["-o", "olo.ts", "--default-non-nullable", "false"]
    make([str(packages / "node_modules/.bin/openapi-typescript"), str(document), *options], folder)
    for file in ("phone.ts", "tsconfig.json", "package.json"):
        shutil.copy(HERE / file, folder)
    (folder / "node_modules").symlink_to(packages / "node_modules")
    run([str(packages / "node_modules/.bin/tsc")], folder)


def check_asyncapi(document: Path) -> None:
    """AsyncAPI's own parser. Errors: MakerError with what it says."""
    packages = node_packages()
    shutil.copy(HERE / "asyncapi.mjs", packages)
    run(["node", "asyncapi.mjs", str(document)], packages)
